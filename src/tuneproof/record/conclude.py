"""Comparisons and the verdict, from a study's files alone.

In: a study's directory. Out: comparisons.json. Knows nothing of: models, how arms were run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from tuneproof.atomic import write_json
from tuneproof.errors import RecipeError, RunError
from tuneproof.inference.prediction import AnyPredictions, read_predictions
from tuneproof.metrics import METRICS
from tuneproof.recipe.recipe import Recipe, read_recipe
from tuneproof.record import study_folder
from tuneproof.record.diagnoses import Diagnosis, describe_under_trained, diagnose_study, of_arm
from tuneproof.record.lookalikes import add_lookalikes, score_without_lookalikes
from tuneproof.record.registration import register, registration_of
from tuneproof.score.compare import adjust, compare
from tuneproof.score.scores import as_json, score, unavailable_reason
from tuneproof.score.verdict import Comparison, UnderTrained, comparison_sentence, make_verdict, withhold
from tuneproof.settings import Claim


@dataclass(frozen=True)
class FinishedArm:
    """All finished seeds of one arm of one model; `seeds` is [None] if the arm is deterministic."""

    arm: str
    model: str | None
    kind: str
    runs: list[AnyPredictions]
    seeds: list[int | None]

    @property
    def has_chance(self) -> bool:
        """Whether the arm varies with the seed."""
        return None not in self.seeds

    def about(self) -> dict[str, Any]:
        """The arm's identity in comparisons.json."""
        return {"arm": self.arm, "model": self.model, "kind": self.kind, "seeds": len(self.runs)}

    def name(self, with_model: bool) -> str:
        """The arm's name, with its model if the study has several."""
        return f"{self.model} {self.arm}" if with_model and self.model else self.arm

    def on_sample(self, size: int | None) -> "FinishedArm":
        """The arm under its name on a sample of train; None: all of train."""
        return self if size is None else replace(self, arm=f"{self.arm} on {size:,} items")


def finished_arms(records: Sequence[study_folder.ArmRecord]) -> list[FinishedArm]:
    """The finished arms, each with all its seeds, in the recipe's order."""
    arms: dict[tuple[str, str | None], FinishedArm] = {}
    for record in records:
        if record.about["status"] == "done":
            key = (record.about["arm"], record.about.get("model"))
            arm = arms.setdefault(key, FinishedArm(*key, record.about["kind"], [], []))
            arm.seeds.append(record.about.get("seed"))
            arm.runs.append(read_predictions(record.folder / study_folder.PREDICTIONS))
    return list(arms.values())


def read_study_recipe(folder: Path) -> Recipe:
    """The recipe in a study's folder.

    Raises: RunError if the study's format is older and its recipe is no longer valid.
    """
    try:
        return read_recipe(folder / study_folder.RECIPE)
    except RecipeError as error:
        if study_folder.study_format(folder) == study_folder.FORMAT:
            raise
        raise study_folder.format_error(folder) from error


@dataclass(frozen=True)
class _Study:
    """A study's finished arms with the recipe's rules for comparing them.

    `skipped` collects why arms could not be compared; `diagnoses` are those of every finished tuned run.
    """

    recipe: Recipe
    grouped: bool
    arms: list[FinishedArm]
    diagnoses: list[Diagnosis]
    skipped: list[str] = field(default_factory=list)

    @property
    def metric(self) -> str:
        """The task's main metric."""
        return self.recipe.task.metrics[0]

    @property
    def models(self) -> list[str | None]:
        """The models of the finished arms."""
        return list(dict.fromkeys(arm.model for arm in self.arms if arm.model))

    def name(self, arm: FinishedArm) -> str:
        """The arm's name, with its model if the study has several."""
        return arm.name(len(self.models) > 1)

    def find(self, name: str, model: str | None) -> FinishedArm | None:
        """The arm with this name for a model; a baseline serves every model."""
        return next((arm for arm in self.arms if arm.arm == name and arm.model in (None, model)), None)

    def named(self, name: str | None, without: Sequence[FinishedArm] = ()) -> list[FinishedArm]:
        """The arms with this name, one per model."""
        return [arm for arm in self.arms if arm.arm == name and arm not in without]

    def scores(self, arm: FinishedArm, metrics: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The arm's scores over all its seeds, by metric."""
        return as_json(score(arm.runs, metrics, self.recipe.score, self.grouped))

    def compare(self, arm: FinishedArm, over: FinishedArm, metric: str) -> list[Comparison]:
        """The comparison on the seeds that both arms finished; empty if there is none."""
        names = (self.name(arm), self.name(over))
        runs, over_runs = arm.runs, over.runs
        if None not in arm.seeds and None not in over.seeds:
            common = [seed for seed in arm.seeds if seed in over.seeds]
            runs = [arm.runs[arm.seeds.index(seed)] for seed in common]
            over_runs = [over.runs[over.seeds.index(seed)] for seed in common]
            if not common:
                self.skipped.append(f"{names[0]} and {names[1]} have no finished seed in common.")
                return []
        try:
            comparison = compare(runs, over_runs, metric, *names, self.recipe.score, self.grouped)
        except RunError as error:
            self.skipped.append(str(error))
            return []
        sides = zip(names, (arm, over), (runs, over_runs), strict=True)
        single = tuple(name for name, side, used in sides if len(used) == 1 and None not in side.seeds)
        comparison = replace(comparison, single_runs=single)
        return [replace(comparison, sentence=comparison_sentence(comparison))]

    def claims(self) -> list[Comparison]:
        """Every claim for every model that has both arms."""
        comparisons, seen = [], set()
        for claim in self.recipe.claims:
            for model in self.models or [None]:
                arm, over = self.find(claim.arm, model), self.find(claim.over, model)
                key = (claim, arm and arm.model, over and over.model)
                if arm and over and key not in seen:
                    seen.add(key)
                    pairs = self.compare(arm, over, claim.metric or self.metric)
                    comparisons += [replace(pair, margin=_margin_of(claim, pair)) for pair in pairs]
        return self.corrected(comparisons)

    def corrected(self, comparisons: Sequence[Comparison], hypotheses: int | None = None) -> list[Comparison]:
        """Comparisons made together, corrected by Holm's method, without verdicts on under-trained arms."""
        under_trained = self.under_trained(self.arms)
        return [withhold(comparison, under_trained) for comparison in adjust(comparisons, hypotheses)]

    def under_trained(self, arms: Sequence[FinishedArm], size: int | None = None) -> dict[str, UnderTrained]:
        """The under-trained of these arms, by their names in comparisons; size: of their sample."""
        diagnosed = {}
        for arm in arms:
            name = self.name(arm.on_sample(size))
            diagnoses = of_arm(self.diagnoses, arm.arm, arm.model, size)
            if reason := describe_under_trained(name, diagnoses, len(arm.runs)):
                diagnosed[name] = reason
        return diagnosed

    def _pairs(self) -> list[tuple[FinishedArm, FinishedArm]]:
        """Every arm with the baselines and with the first claim's `over`, then that claim's arm with all."""
        first = next(iter(self.recipe.claims), None)
        bases = [arm for arm in self.arms if arm.kind == "baseline"]
        bases += self.named(first.over if first else None, bases)
        pairs = [(arm, over) for over in bases for arm in self.arms]
        return [*pairs, *product(self.named(first.arm if first else None), self.arms)]

    def further_pairs(self, claims: Sequence[Comparison]) -> list[Comparison]:
        """The comparisons beside the claims, each pair once, by the main metric."""
        done = {(claim.arm, claim.over, claim.metric) for claim in claims}
        comparisons = []
        for arm, over in self._pairs():
            key = (self.name(arm), self.name(over), self.metric)
            reverse = (key[1], key[0], self.metric)
            same_model = over.model in (None, arm.model)
            if arm is not over and same_model and key not in done and reverse not in done:
                done.add(key)
                comparisons += self.compare(arm, over, self.metric)
        under_trained = self.under_trained(self.arms)
        return [withhold(comparison, under_trained) for comparison in comparisons]

    def by_train_size(self, study: study_folder.StudyRecord) -> list[dict[str, Any]]:
        """The score of each arm with samples of train at each size, and the gain from all of train.

        A seed also draws the sample, so the interval over items and seeds includes the luck of the draw.
        """
        entries = []
        for size in sorted({record.about["train_size"] for record in study.sampled}):
            sampled = [record for record in study.sampled if record.about["train_size"] == size]
            for arm in finished_arms(sampled):
                full = self.find(arm.arm, arm.model)
                named = arm.on_sample(size)
                under_trained = self.under_trained(self.arms) | self.under_trained([arm], size)
                pairs = self.compare(full, named, self.metric) if full else []
                gain = [withhold(pair, under_trained) for pair in pairs]
                entries.append(self._at_size(arm, size, gain))
        sizes = {(entry["arm"], entry["model"]) for entry in entries}
        train_size = int(study.splits["sizes"]["train"])
        full_arms = [arm for arm in self.arms if (arm.arm, arm.model) in sizes]
        return [*entries, *(self._at_size(arm, train_size, []) for arm in full_arms)]

    def _at_size(self, arm: FinishedArm, size: int, gain: Sequence[Comparison]) -> dict[str, Any]:
        return {
            **arm.about(),
            "train_size": size,
            "metric": self.metric,
            "score": self.scores(arm, [self.metric])[self.metric],
            "gain_from_full_train": gain[0].as_json() if gain else None,
        }

    def without_lookalikes(self, record: study_folder.StudyRecord) -> dict[str, Any] | None:
        """Each arm's main score on the test items without a lookalike in train, if many have one."""
        runs = {self.name(arm): arm.runs for arm in self.arms}
        return score_without_lookalikes(record, self.recipe, runs)

    def over_baselines(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        """The comparisons of arms that ought to beat a baseline with the baselines, corrected together."""
        kinds = ("tuned",) if self.recipe.task.kind == "labels" else ("tuned", "prompt")
        arms = {self.name(arm) for arm in self.arms if arm.kind in kinds}
        baselines = {self.name(arm) for arm in self.arms if arm.kind == "baseline"}
        return self.corrected([pair for pair in comparisons if pair.arm in arms and pair.over in baselines])


def conclude(folder: Path) -> dict[str, Any]:
    """Score every arm over its seeds, compare the arms, write comparisons.json. Returns the verdict."""
    record, recipe = study_folder.read_study(folder), read_study_recipe(folder)
    diagnoses = diagnose_study(record, recipe)
    study = _Study(recipe, bool(record.splits.get("grouped")), finished_arms(record.arms), diagnoses)
    registration = registration_of(register(folder, recipe))
    claims = study.claims()
    further = study.further_pairs(claims)
    if registration["claim_changes"]:  # any of the pairs could have become the claim
        claims = study.corrected(claims, len(claims) + len(further))
    verdict = make_verdict(claims, study.over_baselines([*claims, *further]))
    if recipe.claims and not claims:
        first = recipe.claims[0]
        unfinished = f"{first.arm} or {first.over} did not finish with any model."
        verdict["sentence"] = f"No verdict: {study.skipped[0] if study.skipped else unfinished}"
    if changes := registration["claim_changes"]:
        pairs = f"all {len(claims) + len(further)} comparisons, any of which could have become the claim"
        correction = [f"Holm's correction is for {pairs}."] if claims else []
        verdict["sentence"] = " ".join([verdict["sentence"], *changes, *correction])
    without = study.without_lookalikes(record)
    verdict["sentence"] = add_lookalikes(verdict["sentence"], without)
    value = {
        "comparisons": [
            *({**c.as_json(), "claim": True} for c in claims),
            *({**c.as_json(), "claim": False} for c in further),
        ],
        "arms": [
            {**arm.about(), "scores": study.scores(arm, _available_metrics(recipe, arm))}
            for arm in study.arms
        ],
        "by_train_size": study.by_train_size(record),
        "diagnoses": [diagnosis.as_json() for diagnosis in diagnoses if diagnosis.findings],
        "registration": registration,
        "without_lookalikes": without,
        "verdict": verdict,
        "not_compared": study.skipped,
        "not_computed": _missing_requirements(recipe),
    }
    write_json(folder / study_folder.COMPARISONS, value)
    return verdict


def add_diagnoses(folder: Path) -> None:
    """Conclude a study again that was concluded before diagnoses were made."""
    study = study_folder.read_study(folder)
    is_current = study_folder.study_format(folder) == study_folder.FORMAT
    is_old = bool(study.comparisons) and "diagnoses" not in study.comparisons
    if is_current and is_old and any(arm.steps for arm in study.arms):
        conclude(folder)


def _margin_of(claim: Claim, pair: Comparison) -> float | None:
    """The claim's margin in the metric's unit."""
    return claim.margin / 100 if claim.margin is not None and pair.in_points else claim.margin


def _available_metrics(recipe: Recipe, arm: FinishedArm) -> list[str]:
    """The recipe's metrics that can be computed from an arm's predictions."""
    items_S = [run.items for run in arm.runs]
    return [name for name in recipe.metric_names if not unavailable_reason(METRICS[name], items_S)]


def _missing_requirements(recipe: Recipe) -> list[str]:
    """What this machine is missing for the recipe's metrics, each reason once."""
    checks = [METRICS[name].missing_requirement for name in recipe.metric_names]
    return list(dict.fromkeys(reason for check in checks if check and (reason := check())))


def _refuse_different_texts(first: study_folder.StudyRecord, second: study_folder.StudyRecord) -> None:
    """Refuse studies whose test items differ: ids such as "row-2" and golds may agree by chance.

    Raises: RunError if the test items' fingerprints differ.
    """
    prints = [(study.splits.get("fingerprints") or {}).get("test") for study in (first, second)]
    if None not in prints and prints[0] != prints[1]:
        problem = "the test items have the same ids but different texts."
        allowed = "Only scores on the same items are comparable."
        do = "Run both arms in one study, so that they share the same items."
        raise RunError(f"{first.folder} and {second.folder}", problem, allowed, do)


def compare_arms(a: Path, b: Path, metric: str | None) -> dict[str, Any]:
    """Compare two arms by their folders, in the same or in two studies.

    Raises: RunError if an arm is not finished or the items differ.
    """
    first, second = study_folder.read_arm(a), study_folder.read_arm(b)
    study, second_study = (study_folder.read_study(folder.parent.parent) for folder in (a, b))
    recipe = read_study_recipe(study.folder)
    name, second_name = first.label, second.label
    if name == second_name:
        name, second_name = (f"{arm.label} of {arm.folder.parent.parent.name}" for arm in (first, second))
    runs, second_runs = ([read_predictions(folder / study_folder.PREDICTIONS)] for folder in (a, b))
    metric, grouped = metric or recipe.task.metrics[0], bool(study.splits.get("grouped"))
    comparison = compare(runs, second_runs, metric, name, second_name, recipe.score, grouped)
    _refuse_different_texts(study, second_study)
    under_trained = _under_trained_in(study, [first], name)
    under_trained |= _under_trained_in(second_study, [second], second_name)
    return withhold(comparison, under_trained).as_json()


def _under_trained_in(
    study: study_folder.StudyRecord, runs: Sequence[study_folder.ArmRecord], name: str
) -> dict[str, UnderTrained]:
    """The arm with these runs under this name, if it is under-trained."""
    diagnoses = diagnose_study(replace(study, arms=list(runs), sampled=[]), read_study_recipe(study.folder))
    reason = describe_under_trained(name, diagnoses, len(runs))
    return {name: reason} if reason else {}


def _runs_of(study: study_folder.StudyRecord, arm: FinishedArm) -> list[study_folder.ArmRecord]:
    return [record for record in study.arms if record.label == arm.name(True)]


def compare_studies(a: Path, b: Path, metric: str | None) -> list[dict[str, Any]]:
    """Compare every arm that both studies finished, over all its seeds.

    Raises: RunError if the studies share no finished arm or their items differ.
    """
    first, second = study_folder.read_study(a), study_folder.read_study(b)
    recipe = read_study_recipe(a)
    metric = metric or recipe.task.metrics[0]
    grouped = bool(first.splits.get("grouped"))
    arms, second_arms = finished_arms(first.arms), finished_arms(second.arms)
    comparisons = []
    for arm in arms:
        for second_arm in second_arms:
            if (arm.arm, arm.model) == (second_arm.arm, second_arm.model):
                name, second_name = (f"{arm.name(True)} of {folder.name}" for folder in (a, b))
                runs = arm.runs, second_arm.runs
                names = name, second_name
                chance = arm.has_chance, second_arm.has_chance
                comparison = compare(*runs, metric, *names, recipe.score, grouped, chance)
                under_trained = _under_trained_in(first, _runs_of(first, arm), name)
                under_trained |= _under_trained_in(second, _runs_of(second, arm), second_name)
                comparisons.append(withhold(comparison, under_trained).as_json())
    if not comparisons:
        problem = "have no finished arm in common."
        allowed = (
            f"Arms: {', '.join(arm.arm for arm in arms)}; and {', '.join(arm.arm for arm in second_arms)}."
        )
        raise RunError(f"{a} and {b}", problem, allowed, "Name the folders of two arms.")
    _refuse_different_texts(first, second)
    return comparisons


def compare_folders(a: Path, b: Path, metric: str | None) -> list[dict[str, Any]]:
    """Compare two arms, or every arm that two studies share, on the same items.

    Raises: RunError where there is nothing to compare or the items differ.
    """
    if (a / study_folder.ARM).is_file() and (b / study_folder.ARM).is_file():
        return [compare_arms(a, b, metric)]
    return compare_studies(a, b, metric)
