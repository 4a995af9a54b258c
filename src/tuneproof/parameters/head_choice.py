"""What is asked for ahead of a run: a method with its settings, and what the model answers with.

In: words of the command line. Out: an Arm and a HeadChoice, or the first thing that is wrong.
Knows nothing of: models, how anything is counted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.families import Family
from tuneproof.methods import METHODS
from tuneproof.recipe.recipe import Arm, arm_from
from tuneproof.tasks import TASKS

MOST_LABELS = 100_000


@dataclass(frozen=True)
class HeadChoice:
    """What a model answers with: `outputs` numbers of a head (0: words, no head is added)."""

    kind: Literal["labels", "span", "words"]
    outputs: int
    sentence: str
    task: str | None = None


def asked_arm(method: str | None, changes: Sequence[str]) -> Arm | None:
    """The method with its changed settings; None where none is named.

    Raises: RecipeError for an unknown method or setting, or a method that trains nothing.
    """
    if method is None:
        if changes:
            raise RecipeError(
                f"--set {changes[0]}", "changes a method, and none is named.", do="Add --method NAME."
            )
        return None
    tuned = [name for name, found in METHODS.items() if found.kind == "tuned"]
    if method not in METHODS:
        raise RecipeError("--method", f"{method!r} is not a method.", do=did_you_mean(method, tuned))
    if METHODS[method].kind != "tuned":
        raise RecipeError(
            "--method",
            f"{method} trains no weights of a model: there is nothing to count.",
            f"Allowed: {', '.join(tuned)}.",
        )
    return arm_from(method, changes)


def asked_head(task: str | None, head: str | None, arm: Arm | None) -> HeadChoice | None:
    """The head that a task, --head or the method's own setting asks for; None where none does.

    Raises: RecipeError for an unknown task or head, or two that do not go together.
    """
    choice = _named_head(task, head)
    return choice if arm is None else _head_of_method(arm, choice)


def _named_head(task: str | None, head: str | None) -> HeadChoice | None:
    if task is not None and head is not None:
        raise RecipeError("--head", "is given beside --task, which says it too.", do="Leave one out.")
    if task is not None:
        if task not in TASKS:
            raise RecipeError("--task", f"{task!r} is not a task.", do=did_you_mean(task, TASKS))
        found = TASKS[task]
        if found.kind != "labels":
            return HeadChoice("span", 2, f"a span head (task {task})", task)
        if found.labels is None:
            raise RecipeError(
                "--task",
                f"how many labels {task} has, its own file says.",
                do="Write --head labels:N instead.",
            )
        size = len(found.labels)
        return HeadChoice("labels", size, f"a head of {size} labels (task {task})", task)
    if head is None:
        return None
    if head == "span":
        return HeadChoice("span", 2, "a span head (start and end)")
    if head == "words":
        return HeadChoice("words", 0, "its own words")
    numbered = re.fullmatch(r"labels:([0-9]{1,9})", head)
    if numbered and 2 <= int(numbered[1]) <= MOST_LABELS:
        return HeadChoice("labels", int(numbered[1]), f"a head of {int(numbered[1]):,} labels")
    raise RecipeError(
        "--head", f"{head!r} is no head.", f"Allowed: labels:N (N from 2 to {MOST_LABELS:,}), span, words."
    )


def _head_of_method(arm: Arm, choice: HeadChoice | None) -> HeadChoice | None:
    """The head again, after what the method's own setting says of it."""
    said = "objective" in arm.options.model_fields_set
    words = getattr(arm.options, "objective", "head") == "words"
    if said and words and choice is None:
        return HeadChoice("words", 0, "its own words")
    if said and choice is not None and words != (choice.kind == "words"):
        if words and choice.task:  # a task can be answered in words as well
            return HeadChoice("words", 0, f"its own words (task {choice.task})", choice.task)
        raise RecipeError(
            "--head",
            f"{choice.kind} does not go with objective: {arm.options.objective}.",  # type: ignore[attr-defined]
            do="Leave one out.",
        )
    if choice is not None and choice.kind == "words" and not _can_answer_in_words(arm):
        raise RecipeError(
            "--head",
            f"{arm.method_name} trains a head, not words.",
            do="Write --head labels:N or --head span, or use lora or full.",
        )
    return choice


def _can_answer_in_words(arm: Arm) -> bool:
    field = type(arm.options).model_fields.get("objective")
    return field is not None and "words" in get_args(field.annotation)


def default_head(arm: Arm, family: Family) -> HeadChoice:
    """A decoder answers in words where nothing is said.

    Raises: RecipeError where a head is needed and its size is not known.
    """
    said = "objective" in arm.options.model_fields_set
    if family.kind == "decoder" and _can_answer_in_words(arm) and not said:
        return HeadChoice("words", 0, "its own words (no --task or --head is named)")
    raise RecipeError(
        "--task",
        f"{arm.method_name} needs a head here, and its size is not said.",
        do="Write --task sst2, --head labels:2 or --head span.",
    )
