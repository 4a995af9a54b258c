"""A forecast in a process of its own: `check` itself loads no torch, and shows the plan before it.

In: a recipe, later its plan. Out: a Forecast. Knows nothing of: how a forecast is made.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from types import TracebackType

from tuneproof.parent_process import end_with_parent
from tuneproof.recipe.recipe import Recipe, recipe_from
from tuneproof.study.forecast import ArmForecast, Forecast, forecast_plan
from tuneproof.study.plan import Plan, check

FAILED = "The cost cannot be predicted: the process that times the arms ended with code {}."


def forecast_here(plan: Plan) -> Forecast | None:
    """The forecast of a plan that is only checked; None where its rows or models are not here."""
    return forecast_plan(plan) if _can_forecast(plan) else None


def _can_forecast(plan: Plan) -> bool:
    return plan.data is not None and all(spec.is_complete for spec in plan.models)


class ForecastProcess:
    """A process that plans a recipe and forecasts it, while this one plans it, too.

    It ends with the block that it is started for.
    """

    def __init__(self, recipe: Recipe) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "tuneproof.study.forecast_process", str(os.getpid())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._recipe = json.dumps(recipe.values())

    def __enter__(self) -> "ForecastProcess":
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has died: its forecast says so
            self._process.stdin.write(self._recipe)
            self._process.stdin.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def forecast(self, plan: Plan) -> Forecast | None:
        """Its forecast, once it is there; None as `forecast_here`. Where the process fails, it says so."""
        if not _can_forecast(plan):
            return None
        assert self._process.stdout is not None
        printed = self._process.stdout.read()
        if code := self._process.wait():
            return Forecast((), (FAILED.format(code),))
        values = json.loads(printed.splitlines()[-1])
        return Forecast(tuple(ArmForecast(**arm) for arm in values["arms"]), tuple(values["notes"]))


def main() -> None:
    """Print the forecast of the recipe on the standard input, both as JSON."""
    end_with_parent(int(sys.argv[1]))
    forecast = forecast_plan(check(recipe_from(json.load(sys.stdin))))
    print(json.dumps({**forecast.as_json(), "notes": forecast.notes}))


if __name__ == "__main__":
    main()
