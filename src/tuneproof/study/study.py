"""A study: its arms as a list of work, done in turn, finished ones skipped.

In: a recipe. Out: a study's directory, and an object to look at it from Python.
Knows nothing of: how an arm is carried out, how anything is shown.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneproof.atomic import read_json
from tuneproof.context.monitor import Event, StudyEnded
from tuneproof.errors import RecipeError, RunError, TuneproofError, did_you_mean
from tuneproof.process_group import Team, join
from tuneproof.recipe.recipe import Recipe, read_recipe, recipe_from
from tuneproof.record.study_folder import (
    ARM,
    PREDICTIONS,
    REPORT_HTML,
    ArmRecord,
    StudyRecord,
    read_study,
    refuse_foreign,
)
from tuneproof.study.lock import StudyLock
from tuneproof.study.plan import recipe_folder
from tuneproof.study.resume import Change, finished
from tuneproof.study.run import NO_CHANGE, carry_out, conclude, forget_checkpoints, let_go, prepare
from tuneproof.study.worker_rank import follow_leader

if TYPE_CHECKING:
    import pandas

HERE, RAY = "here", "ray"
PLACES = (HERE, RAY)


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


def events_of(
    recipe: Recipe, command: str | None = None, change: Change = NO_CHANGE, on: str = HERE
) -> Generator[Event, None, None]:
    """Carry out the study; yields what happens. Finished arms of the same recipe are skipped.

    on: "here", or "ray" for the arms as tasks of a Ray cluster.

    Where a caller throws StoppedError in, the arm that runs keeps what it has, and it is raised again.

    Raises: TuneproofError where the study cannot begin; RunError at its end where an arm failed.
    """
    failed = []
    team = join(recipe.compute.device)
    if not team.leads:
        follow_leader(recipe, team)
        return
    refuse_foreign(recipe_folder(recipe))
    with _heard_by(team), StudyLock(recipe_folder(recipe)) as lock, _cluster(recipe, on) as cluster:
        machine = cluster.machine if cluster else None
        plan = yield from prepare(recipe, command, lock, change, machine)
        left = []
        for work in plan.works:
            lock.check()
            if finished(work):
                forget_checkpoints(work)
                yield work.skipped(len(plan.works))
            elif cluster and not work.impossible:
                left.append(work)
            elif not (yield from carry_out(plan, work)):
                failed.append(work)
        if cluster:
            from tuneproof.study.ray_cluster import by_ray

            failed += yield from by_ray(plan, left, cluster)
        let_go(plan)
        lock.check()
        ended = yield from conclude(plan)
        team.say()
    yield ended
    if failed:
        reason = str(read_json(failed[0].folder / ARM)["reason"]).rstrip(".")
        raise RunError(
            recipe.out,
            f"{len(failed)} of {len(plan.works)} arms failed: "
            f"{', '.join(work.label for work in failed)}. The first said: {reason}.",
            do="The report gives each reason; the same command tries them again.",
        )


@contextmanager
def _cluster(recipe: Recipe, on: str) -> Iterator[Any]:
    """The Ray cluster while the study lasts; None where it runs here."""
    if on not in PLACES:
        raise RecipeError("on", f"{on!r} is no place to run.", do=did_you_mean(on, PLACES))
    if on == HERE:
        yield None
        return
    from tuneproof.study.ray_cluster import join_cluster, leave_cluster

    try:
        yield join_cluster(recipe)
    finally:
        leave_cluster()


@contextmanager
def _heard_by(team: Team) -> Iterator[None]:
    """The other processes stop when this one does."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, TuneproofError) and not team.broken:
            team.stop()
        raise


def run(
    recipe: Recipe | str | Path | Mapping[str, Any] | None = None,
    *,
    task: str | Mapping[str, Any] | None = None,
    models: Sequence[str] = (),
    arms: Sequence[Any] = (),
    out: str | None = None,
    change: Change = NO_CHANGE,
    on: str = HERE,
) -> Study:
    """Run a study: a recipe (object, file or values), or a task with models and arms.

    change: arms to begin again, or differences to accept, where the folder holds arms of other settings.
    on: "here", or "ray" for the arms as tasks of a Ray cluster.

    Raises: TuneproofError.
    """
    if recipe is None:
        if task is None:
            raise RecipeError("run", "neither a recipe nor a task is given.", do="Give one of them.")
        recipe = {"task": task, "models": list(models), "arms": list(arms)}
    elif task is not None or models or arms:
        raise RecipeError("run", "a recipe and a task, models or arms are given.", do="Give either.")
    if isinstance(recipe, (str, Path)):
        recipe = read_recipe(recipe)
    elif isinstance(recipe, Mapping):
        recipe = recipe_from({**recipe, **({"out": out} if out else {})})
    if out and recipe.out != out:
        recipe = recipe.model_copy(update={"out": out})
    folder = Path(recipe.out)
    for event in events_of(recipe, change=change, on=on):
        if isinstance(event, StudyEnded):
            folder = Path(event.folder)
    return Study(folder)
