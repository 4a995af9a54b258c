"""Training steps logged to TensorBoard, W&B, trackio or MLflow, through Accelerate.

In: names of trackers, a name of the run. Out: trackers that log numbers by step.
Knows nothing of: models, losses, the study's own files.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tuneproof.errors import RecipeError, RunError


def check_trackers(names: Sequence[str]) -> None:
    """Raises RecipeError where a tracker's package is not installed."""
    for name in names:
        if find_spec(name) is None:
            advice = f"pip install {name}, or remove it: every step is in steps.jsonl as well."
            raise RecipeError("train.trackers", f"the package {name} is not installed.", do=advice)


def _tracker(name: str, project: str, run: str, folder: Path) -> Any:
    from accelerate import PartialState
    from accelerate.tracking import MLflowTracker, TensorBoardTracker, TrackioTracker, WandBTracker

    PartialState()  # its trackers log by it
    if name == "tensorboard":
        return TensorBoardTracker(run, str(folder))
    if name == "wandb":
        return WandBTracker(project, name=run)
    if name == "trackio":
        return TrackioTracker(project, name=run)
    return MLflowTracker(experiment_name=project, run_name=run)


@contextmanager
def open_trackers(names: Sequence[str], study: Path, run: str) -> Iterator[list[Any]]:
    """Trackers of one arm's run, finished at the end, in a project named as the study's folder.

    TensorBoard writes into `study`/tensorboard. Raises: RunError where a tracker does not start.
    """
    started: list[Any] = []
    try:
        for name in names:
            tracker = _tracker(name, study.resolve().name, run, study / "tensorboard")
            try:
                tracker.start()
            except Exception as error:  # packages raise anything: no login, no network
                reason = " ".join(str(error).split()) or type(error).__name__
                problem = f"did not start: {reason.rstrip('.')}."
                advice = "Fix it, or remove it from train.trackers."
                raise RunError(f"tracker {name}", problem, do=advice) from error
            started.append(tracker)
        yield started
    finally:
        for tracker in started:
            tracker.finish()


def track(trackers: Sequence[Any], values: Mapping[str, Any], step: int) -> None:
    """Log the values that are numbers to every tracker."""
    numbers = {
        name: value
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and name != "step"
    }
    for tracker in trackers:
        tracker.log(numbers, step=step)
