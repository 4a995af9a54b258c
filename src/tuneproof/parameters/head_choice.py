"""The method and the head that a count is about, read from the command line.

In: options of the command line. Out: an Arm and a HeadSpec, or the first error.
Knows nothing of: models, counting.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.families import Family
from tuneproof.methods import METHODS
from tuneproof.methods.options import TunedOptions, trains_words
from tuneproof.recipe.recipe import Arm, arm_from
from tuneproof.tasks import TASKS

MAX_LABELS = 100_000


@dataclass(frozen=True)
class HeadSpec:
    """How a model answers: by `outputs` numbers of a head, or in words (0 outputs, no head is added)."""

    kind: Literal["labels", "span", "words"]
    outputs: int
    description: str
    task: str | None = None


def parse_method(method: str | None, changes: Sequence[str]) -> Arm | None:
    """The method with its changed settings; None if no method is named.

    Raises: RecipeError for an unknown method or setting, or a method that trains nothing.
    """
    if method is None:
        if changes:
            problem = "this sets an option of a method, but no method is named."
            raise RecipeError(f"--set {changes[0]}", problem, do="Add --method NAME.")
        return None
    tuned = [name for name, entry in METHODS.items() if entry.kind == "tuned"]
    if method not in METHODS:
        raise RecipeError("--method", f"{method!r} is not a method.", do=did_you_mean(method, tuned))
    if METHODS[method].kind != "tuned":
        problem = f"{method} trains no weights of a model, so there is nothing to count."
        raise RecipeError("--method", problem, f"Allowed: {', '.join(tuned)}.")
    return arm_from(method, changes)


def parse_head(task: str | None, head: str | None, arm: Arm | None) -> HeadSpec | None:
    """The head that the task, --head or the method's own setting names; None if none does.

    Raises: RecipeError for an unknown task or head, or two that contradict each other.
    """
    if task is not None and head is not None:
        raise RecipeError("--head", "--task already names the head.", do="Give only one of them.")
    choice = _head_of_task(task) if task is not None else _parse_head_option(head)
    return choice if arm is None else _check_objective(arm, choice)


def _head_of_task(name: str) -> HeadSpec:
    if name not in TASKS:
        raise RecipeError("--task", f"{name!r} is not a task.", do=did_you_mean(name, TASKS))
    task = TASKS[name]
    if task.kind != "labels":
        return HeadSpec("span", 2, f"a span head (task {name})", name)
    if task.labels is None:
        problem = f"the number of labels of {name} depends on your file."
        raise RecipeError("--task", problem, do="Use --head labels:N instead.")
    size = len(task.labels)
    return HeadSpec("labels", size, f"a head of {size} labels (task {name})", name)


def _parse_head_option(head: str | None) -> HeadSpec | None:
    if head is None:
        return None
    if head == "span":
        return HeadSpec("span", 2, "a span head (start and end)")
    if head == "words":
        return HeadSpec("words", 0, "the language-model head")
    match = re.fullmatch(r"labels:([0-9]{1,9})", head)
    if match and 2 <= int(match[1]) <= MAX_LABELS:
        return HeadSpec("labels", int(match[1]), f"a head of {int(match[1]):,} labels")
    allowed = f"Allowed: labels:N (N from 2 to {MAX_LABELS:,}), span, words."
    raise RecipeError("--head", f"{head!r} is not a head.", allowed)


def _check_objective(arm: Arm, choice: HeadSpec | None) -> HeadSpec | None:
    """The head, once it agrees with the method's own setting `objective`."""
    is_set = "objective" in arm.options.model_fields_set
    in_words = trains_words(arm.options)
    if is_set and in_words and choice is None:
        return HeadSpec("words", 0, "the language-model head")
    if is_set and choice is not None and in_words != (choice.kind == "words"):
        if in_words and choice.task:  # a model can also answer a task in words
            return HeadSpec("words", 0, f"the language-model head (task {choice.task})", choice.task)
        problem = f"{choice.kind} contradicts objective: {'words' if in_words else 'head'}."
        raise RecipeError("--head", problem, do="Remove one of them.")
    if choice is not None and choice.kind == "words" and not isinstance(arm.options, TunedOptions):
        advice = "Use --head labels:N or --head span, or the method lora or full."
        raise RecipeError("--head", f"{arm.method_name} trains a head, not words.", do=advice)
    return choice


def default_head(arm: Arm, family: Family) -> HeadSpec:
    """A decoder's answer in words, if nothing names a head. Raises: RecipeError if a head must be named."""
    is_set = "objective" in arm.options.model_fields_set
    if family.kind == "decoder" and isinstance(arm.options, TunedOptions) and not is_set:
        return HeadSpec("words", 0, "the language-model head (no --task or --head is given)")
    problem = f"{arm.method_name} needs a head here, and its size is not given."
    raise RecipeError("--task", problem, do="Add --task sst2, --head labels:2 or --head span.")
