"""A study's finished arms with its rules for comparing them.

In: a study read back. Out: its claims and other comparisons, corrected; none against an under-trained arm.
Knows nothing of: models, how arms were run, files other than the study's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from tuneproof.errors import RunError
from tuneproof.recipe.recipe import Recipe
from tuneproof.record import study_folder
from tuneproof.record.diagnoses import Diagnosis, describe_under_trained, diagnose_study, of_arm
from tuneproof.record.finished_arms import FinishedArm, finished_arms, read_study_recipe
from tuneproof.record.lookalikes import score_without_lookalikes
from tuneproof.record.registration import entries_with, registration_of
from tuneproof.score.compare import adjust, compare
from tuneproof.score.planning import more_to_tell
from tuneproof.score.scores import as_json, score
from tuneproof.score.verdict import Comparison, UnderTrained, comparison_sentence, withhold
from tuneproof.settings import Claim


@dataclass(frozen=True)
class FinishedStudy:
    """A study's finished arms with the recipe's rules for comparing them.

    `registration` is that of `registration_of`, or UNRECORDED; `skipped` collects why arms could not be
    compared; `diagnoses` are those of every finished tuned run.
    """

    recipe: Recipe
    grouped: bool
    arms: list[FinishedArm]
    diagnoses: list[Diagnosis]
    registration: Mapping[str, Any]
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
        """The arm with this name for a model; one without a model, or with its own, serves all."""
        named = (arm for arm in self.arms if arm.arm == name)
        return next((arm for arm in named if arm.own_model or arm.model == model), None)

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
                    comparisons += [replace(pair, margin=margin_of(claim, pair)) for pair in pairs]
        return self.corrected(comparisons)

    def corrected(self, comparisons: Sequence[Comparison], hypotheses: int | None = None) -> list[Comparison]:
        """Comparisons made together, corrected by Holm's method, without verdicts on under-trained arms."""
        under_trained = self.under_trained(self.arms)
        adjusted = adjust(comparisons, hypotheses, self.registration["seed_additions"])
        planned = [replace(pair, to_tell=more_to_tell(pair)) for pair in adjusted]
        return [withhold(replace(p, sentence=comparison_sentence(p)), under_trained) for p in planned]

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
            same_model = over.own_model or arm.kind == "finished" or over.model == arm.model
            if arm is not over and same_model and key not in done and reverse not in done:
                done.add(key)
                comparisons += self.compare(arm, over, self.metric)
        under_trained = self.under_trained(self.arms)
        return [withhold(comparison, under_trained) for comparison in comparisons]

    def claims_and_further(self) -> tuple[list[Comparison], list[Comparison]]:
        """The claims, corrected also for what was changed after results, and the other comparisons."""
        claims = self.claims()
        further = self.further_pairs(claims)
        if self.registration["claim_changes"]:  # any of the pairs could have become the claim
            claims = self.corrected(claims, len(claims) + len(further))
        return claims, further

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


def read_finished_study(
    record: study_folder.StudyRecord, registration: Mapping[str, Any] | None = None
) -> FinishedStudy:
    """The study with its diagnoses and what was registered; nothing is written.

    registration: in place of what registration.json and the recipe say.

    Raises: RunError if its recipe or registration cannot be read.
    """
    recipe = read_study_recipe(record.folder)
    diagnoses = diagnose_study(record, recipe)
    registration = registration or registration_of(entries_with(record.folder, recipe))
    return FinishedStudy(recipe, record.is_clustered, finished_arms(record.arms), diagnoses, registration)


def margin_of(claim: Claim, pair: Comparison) -> float | None:
    """The claim's margin in the metric's unit."""
    return claim.margin / 100 if claim.margin is not None and pair.in_points else claim.margin
