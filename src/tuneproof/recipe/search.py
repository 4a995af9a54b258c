"""What an arm's recipe leaves open: a learning rate by rule, and the settings that dev is to choose.

In: the `search` section, an arm's options, the width of its model. Out: options with every number filled
in, a SearchSpace. Knows nothing of: weights, how a trial is trained.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from pydantic import ValidationError

from tuneproof.errors import did_you_mean
from tuneproof.methods.learning_rate import TrainedPart, default_learning_rate, rates_to_try
from tuneproof.methods.method import Method
from tuneproof.methods.options import MethodOptions, TunedOptions, uses_trainer
from tuneproof.recipe.validate import check_part, shorten
from tuneproof.recipe.yaml import Document
from tuneproof.settings import SearchSettings, TrainSettings

AUTO = "auto"
RATE = "learning_rate"
MAX_TRIALS = 32
KEPT_SHARE = 3  # of a rung's trials one in three goes on, and at least one
# They name the arm, decide what its losses mean, or how long it trains.
NOT_SEARCHED = {
    *("name", "models", "objective", "weights", "then", "engine"),
    *("epochs", "more_epochs", "strengths", "pooling"),
}
TRAIN_SEARCHED = ("batch_size", "group_by_length", "schedule", "warmup_share", "weight_decay", "clip_norm")


@dataclass(frozen=True)
class Rung:
    """Trials of one length. steps: of each, at the arm's own batch size."""

    trials: int
    steps: int


@dataclass(frozen=True)
class SearchSpace:
    """The values to try for one arm.

    budget: steps of all trials, in multiples of the arm's training. missing: settings of the search that
    this arm does not have.
    """

    values: Mapping[str, tuple[Any, ...]]
    budget: float
    missing: tuple[str, ...] = ()

    @property
    def trials(self) -> list[dict[str, Any]]:
        """Every combination; neighbours share what changes the model, since it is loaded again for that."""
        names = sorted(self.values, key=lambda name: name == RATE or name.startswith("train."))
        combinations = product(*(self.values[name] for name in names))
        return [dict(zip(names, values, strict=True)) for values in combinations]

    @property
    def largest(self) -> dict[str, Any]:
        """The highest value of every option that is a number."""
        return {
            name: max(values)
            for name, values in self.values.items()
            if not name.startswith("train.") and all(isinstance(value, int | float) for value in values)
        }

    @property
    def facts(self) -> dict[str, Any]:
        """What the arm's result depends on, as plain values."""
        values = {f"search.{name}": _as_json(values) for name, values in self.values.items()}
        return {**values, "search.budget": self.budget}


def plan_rungs(trials: int, budget_steps: int) -> list[Rung]:
    """The rungs of successive halving: each costs the same, and the best third of its trials goes on.

    Source: Jamieson and Talwalkar 2016, arXiv:1502.07943, section 3; a third: Li et al. 2018,
    arXiv:1603.06560, section 3.6.
    Differs: a trial of the next rung starts anew, with a complete schedule over its own steps.
    """
    counts = []
    while trials > 1:
        counts.append(trials)
        trials = math.ceil(trials / KEPT_SHARE)
    return [Rung(count, max(1, budget_steps // (len(counts) * count))) for count in counts]


def resolve_options(method: Method, options: MethodOptions, width: int | None) -> MethodOptions:
    """The options with the learning rate as a number; where it is searched, the rate in the middle.

    width: hidden size of the text model; None: unknown.
    """
    if not isinstance(options, TunedOptions) or isinstance(options.learning_rate, float):
        return options
    own = type(options).model_fields[RATE].default
    kind: TrainedPart = "adapter" if method.freezes_base(options) else "full"
    rate = own if isinstance(own, float) else default_learning_rate(kind, width)
    return options.model_copy(update={RATE: rate})


def search_space(
    search: SearchSettings, options: MethodOptions, resolved: MethodOptions
) -> SearchSpace | None:
    """What the arm with these options tries; None: nothing. resolved: the same with a number as its rate."""
    if not isinstance(options, TunedOptions):
        return None
    requested = dict(search.values_by_name)
    if options.learning_rate == AUTO:
        requested.setdefault(RATE, AUTO)
    values = {name: tuple(e) for name, e in requested.items() if e != AUTO and _has_setting(options, name, e)}
    if requested.get(RATE) == AUTO:
        rate = getattr(resolved, RATE)
        values[RATE] = rates_to_try(rate if isinstance(rate, float) else 1e-3)
    missing = tuple(name for name in requested if name not in values)
    return SearchSpace(values, search.budget, missing) if values else None


def with_values(options: MethodOptions, settings: Mapping[str, Any]) -> MethodOptions:
    """The options with a trial's settings; those of `train` are left out."""
    own = {name: value for name, value in settings.items() if not name.startswith("train.")}
    return type(options).model_validate({**options.model_dump(), **own})


def with_train_values(train: TrainSettings, settings: Mapping[str, Any]) -> TrainSettings:
    """The settings of training with those of a trial."""
    prefix = "train."
    own = {name.removeprefix(prefix): value for name, value in settings.items() if name.startswith(prefix)}
    return TrainSettings.model_validate({**train.model_dump(), **own})


def check_search(search: SearchSettings, arms: Mapping[str, MethodOptions], document: Document) -> None:
    """Raises RecipeError for a setting that no arm has, a value that is not allowed, or too many trials.

    arms: the options of every arm by its name.
    """
    tuned = {name: options for name, options in arms.items() if isinstance(options, TunedOptions)}
    for name, entry in search.values_by_name.items():
        _check_setting(name, entry, tuned, document)
    for arm, options in tuned.items():
        space = search_space(search, options, options)
        if space is None:
            continue
        path = ("search",) if search.values_by_name else ("arms",)
        count = math.prod(map(len, space.values.values()))
        if count > MAX_TRIALS:
            sizes = " · ".join(f"{len(values)} of {name}" for name, values in space.values.items())
            problem = (
                f"search: {sizes} are {count} settings to try for {arm}; at most {MAX_TRIALS} are allowed."
            )
            raise document.error(path, problem, "Leave out values, or search one setting after the other.")
        if uses_trainer(options):
            problem = f"search: {arm} has engine: trainer, and trials are trained by the loop alone."
            raise document.error(path, problem, "Leave engine out, or write a learning rate.")


def _check_setting(name: str, entry: Any, tuned: Mapping[str, TunedOptions], document: Document) -> None:
    """One entry of the section."""
    error = partial(document.error, ("search", name))
    if not tuned:
        raise error(f"search.{name}: no arm of this recipe trains.", "Add lora or full to arms.")
    if entry == AUTO and name != RATE:
        raise error(f"search.{name} is auto; only learning_rate can be.", "Write a list of values.")
    if entry != AUTO and not isinstance(entry, (list, tuple)):
        problem = f"search.{name} is {shorten(entry)}; it should be a list of values, or auto."
        raise error(problem, f"Write search: {{{name}: [...]}}.")
    values = () if entry == AUTO else tuple(entry)
    arms = [options for options in tuned.values() if _has_setting(options, name, values)]
    if not arms:
        problem = f"search.{name} is not a setting that an arm of this recipe can search."
        raise error(problem, did_you_mean(name, _searchable(tuned.values(), name)))
    if entry != AUTO and len({repr(value) for value in values}) < max(1, len(values)):
        problem = "it has duplicates" if values else "it is empty"
        raise error(f"search.{name} is {list(values)}: {problem}.", "Write every value to try once.")
    for value in values:
        _check_value(name, value, arms, document)


def _check_value(name: str, value: Any, arms: Sequence[TunedOptions], document: Document) -> None:
    if name.startswith("train."):
        check_part(TrainSettings, {name.removeprefix("train."): value}, document, ("search", "train"))
        return
    for options in arms:
        values = {**options.model_dump(exclude_unset=True), name: value}
        check_part(type(options), values, document, ("search",))


def _searchable(arms: Iterable[TunedOptions], but: str) -> list[str]:
    """The settings that one of the arms can search."""
    own = {field for options in arms for field in type(options).model_fields} - NOT_SEARCHED - {but}
    return [*sorted(own), *(f"train.{field}" for field in TRAIN_SEARCHED)]


def _has_setting(options: TunedOptions, name: str, values: Sequence[Any]) -> bool:
    """Whether the setting has an effect on an arm with these options, whatever the bounds of its values."""
    if name.startswith("train."):
        return name.removeprefix("train.") in TRAIN_SEARCHED
    if name not in type(options).model_fields or name in NOT_SEARCHED:
        return False
    return all(_fits(options, name, value) for value in values)


def _fits(options: TunedOptions, name: str, value: Any) -> bool:
    """Whether the other options give the setting an effect; its own bounds are checked later."""
    try:
        type(options).model_validate({**options.model_dump(exclude_unset=True), name: value})
    except ValidationError as error:
        return all(problem["loc"] for problem in error.errors())
    return True


def _as_json(values: tuple[Any, ...]) -> list[Any]:
    return [list(value) if isinstance(value, tuple) else value for value in values]
