"""A forecast in a process of its own: `check` itself loads no torch, and shows the plan before it.

In: a plan. Out: its Forecast. Knows nothing of: how a forecast is made.
"""

import json
import os
import subprocess
import sys

from tuneproof.parent_process import end_with_parent
from tuneproof.recipe.recipe import recipe_from
from tuneproof.study.forecast import ArmForecast, Forecast, forecast_plan
from tuneproof.study.plan import Plan, check

FAILED = "The cost cannot be predicted: the process that times the arms ended with code {}."


def forecast_checked(plan: Plan, apart: bool) -> Forecast | None:
    """The forecast of a plan that is only checked; None where its rows or models are not here.

    apart: in another process. Where that fails, the forecast says so.
    """
    if plan.data is None or not all(spec.is_complete for spec in plan.models):
        return None
    if not apart:
        return forecast_plan(plan)
    command = [sys.executable, "-W", "ignore", "-m", "tuneproof.study.forecast_process", str(os.getpid())]
    recipe = json.dumps(plan.recipe.values())
    done = subprocess.run(command, input=recipe, capture_output=True, text=True, check=False)
    if done.returncode:
        return Forecast((), (FAILED.format(done.returncode),))
    values = json.loads(done.stdout.splitlines()[-1])
    return Forecast(tuple(ArmForecast(**arm) for arm in values["arms"]), tuple(values["notes"]))


def main() -> None:
    """Print the forecast of the recipe on the standard input, both as JSON."""
    end_with_parent(int(sys.argv[1]))
    forecast = forecast_plan(check(recipe_from(json.load(sys.stdin))))
    print(json.dumps({**forecast.as_json(), "notes": forecast.notes}))


if __name__ == "__main__":
    main()
