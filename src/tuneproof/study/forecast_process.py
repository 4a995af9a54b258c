"""A forecast in a process of its own: `check` itself loads no torch, and shows the plan before it.

In: a recipe, later its plan. Out: a Forecast. Knows nothing of: how a forecast is made.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

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


@contextmanager
def forecast_apart(recipe: Recipe) -> Iterator[Callable[[Plan], Forecast | None]]:
    """Start a process that plans the recipe and forecasts it, while this one plans it, too.

    Yields what waits for its forecast: None as `forecast_here`; where the process fails, a note says so. The
    process ends with the block.
    """
    command = [sys.executable, "-W", "ignore", "-m", "tuneproof.study.forecast_process", str(os.getpid())]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(BrokenPipeError):  # it has died: its forecast says so
            process.stdin.write(json.dumps(recipe.values()))
            process.stdin.close()
        yield partial(_read_forecast, process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _read_forecast(process: "subprocess.Popen[str]", plan: Plan) -> Forecast | None:
    if not _can_forecast(plan):
        return None
    assert process.stdout is not None
    printed = process.stdout.read()
    if code := process.wait():
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
