"""A finished study as a Python object, and one call to run it.

In: a recipe, or a task with models and arms. Out: a study's folder, read from Python.
Knows nothing of: how an arm runs, how anything is shown in a terminal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneproof.context.monitor import Monitor
from tuneproof.errors import RecipeError, RunError
from tuneproof.recipe.recipe import Recipe, read_recipe, recipe_from
from tuneproof.record.study_folder import PREDICTIONS, REPORT_HTML, ArmRecord, StudyRecord, read_study
from tuneproof.study.resume import ResumePolicy
from tuneproof.study.run import HERE, RESUME, run_study

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Study:
    """A finished study, read from its folder."""

    folder: Path

    @property
    def record(self) -> StudyRecord:
        """Everything the folder says, as plain values."""
        return read_study(self.folder)

    @property
    def verdict(self) -> str:
        """The verdict's sentence."""
        return str(self.record.comparisons.get("verdict", {}).get("sentence", ""))

    @property
    def report(self) -> Path:
        """The report's page."""
        return self.folder / REPORT_HTML

    @property
    def scores(self) -> list[dict[str, Any]]:
        """One row an arm and metric: arm, model, seed, metric, value, low, high, n."""
        return [
            {
                "arm": arm.about["arm"],
                "model": arm.about.get("model"),
                "seed": arm.about.get("seed"),
                "metric": metric,
                **{key: score[key] for key in ("value", "low", "high", "n")},
            }
            for arm in self.record.arms
            for metric, score in arm.scores.items()
        ]

    def predictions(self, arm: str, model: str | None = None, seed: int | None = None) -> "pandas.DataFrame":
        """The test predictions of one arm, a row an item; its first model and seed where none is named.

        Columns: those of predictions.parquet, the probabilities as a column a label, p_<label>.

        Raises: RunError where there is no such finished arm.
        """
        import pandas

        record = self._finished(arm, model, seed)
        frame = pandas.read_parquet(record.folder / PREDICTIONS)
        labels = record.about.get("labels") or []
        if "probabilities" in frame and labels and frame["probabilities"].notna().all():
            shares = pandas.DataFrame(
                frame["probabilities"].tolist(), columns=[f"p_{label}" for label in labels]
            )
            frame = pandas.concat([frame.drop(columns="probabilities"), shares], axis=1)
        return frame

    def steps(self, arm: str, model: str | None = None, seed: int | None = None) -> "pandas.DataFrame":
        """The steps of one arm's training: loss, learning rate, gradient norm, dev loss where measured.

        Empty where the arm takes none. Raises: RunError where there is no such finished arm.
        """
        import pandas

        return pandas.DataFrame(self._finished(arm, model, seed).steps)

    def _repr_html_(self) -> str:
        """What a notebook shows: verdict, table and charts."""
        from tuneproof.report.notebook import study_cell

        return study_cell(self.folder)

    def _finished(self, arm: str, model: str | None, seed: int | None) -> ArmRecord:
        for record in self.record.arms:
            about = record.about
            if (
                about["arm"] == arm
                and about["status"] == "done"
                and model in (None, about.get("model"))
                and seed in (None, about.get("seed"))
            ):
                return record
        names = sorted({str(record.about["arm"]) for record in self.record.arms})
        raise RunError(str(self.folder), f"holds no finished arm {arm!r}.", f"Its arms: {', '.join(names)}.")


def run(
    recipe: Recipe | str | Path | Mapping[str, Any] | None = None,
    *,
    task: str | Mapping[str, Any] | None = None,
    models: Sequence[str] = (),
    arms: Sequence[Any] = (),
    out: str | None = None,
    resume: ResumePolicy = RESUME,
    on: str = HERE,
    monitor: Monitor | None = None,
) -> Study:
    """Run a study: a recipe (object, file or values), or a task with models and arms.

    resume: arms to restart, or differences to accept, where the folder holds arms of other settings.
    on: "here", or "ray" for the arms as tasks of a Ray cluster. monitor: receives progress and messages.

    Raises: TuneproofError.
    """
    if recipe is None:
        if task is None:
            raise RecipeError("run", "neither a recipe nor a task is given.", do="Give one of them.")
        recipe = {"task": task, "models": list(models), "arms": list(arms)}
    elif task is not None or models or arms:
        raise RecipeError(
            "run", "both a recipe and a task, models or arms are given.", do="Give one of them."
        )
    if isinstance(recipe, (str, Path)):
        recipe = read_recipe(recipe)
    elif isinstance(recipe, Mapping):
        recipe = recipe_from({**recipe, **({"out": out} if out else {})})
    if out and recipe.out != out:
        recipe = recipe.model_copy(update={"out": out})
    run_study(recipe, monitor, resume, on)
    return Study(Path(recipe.out))
