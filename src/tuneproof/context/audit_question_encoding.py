"""The audit of questions' encoding: what windows and prompts tell before a model loads.

In: what all arms share, a ready model, an arm. Out: findings. Knows nothing of: weights, training.
"""

from dataclasses import replace
from typing import Literal

import numpy as np

from tuneproof.context.few_shot import shots_of
from tuneproof.context.model_spec import Ready
from tuneproof.context.study_data import Shared
from tuneproof.data.audit import Finding, audit_shots
from tuneproof.data.findings import SHOWN, plural
from tuneproof.data.question_prompts import Asking, encode_questions, gold_text
from tuneproof.data.splits import PARTS
from tuneproof.data.windows import encode_windows
from tuneproof.recipe.recipe import Arm

ASKED_ITEMS = 64  # prompts put together for the audit of one arm
MOST_OUTSIDE = 0.01


def reads_spans(arm: Arm) -> bool:
    """Whether the arm marks its answers in windows; else it writes them."""
    return arm.method.kind == "tuned" and getattr(arm.options, "objective", "head") == "head"


def audit_windows(shared: Shared, ready: Ready, looked_at: int | None) -> list[Finding]:
    """Contexts that need several windows, and answers that stand in none whole.

    Raises: DataError where a question leaves no room for its context.
    """
    settings = shared.recipe.encode
    split = outside = items = windows = 0
    shown = []
    for part in PARTS:
        examples = shared.splits.part(part)[:looked_at]
        found = encode_windows(ready.tokenizer, ready.family, examples, ready.max_length, settings.stride)
        items += len(examples)
        windows += len(found.windows)
        split += int(found.split_N.sum())
        lost = np.flatnonzero(found.outside_N)
        outside += len(lost)
        shown += [{"part": part, "id": examples[place].id} for place in lost]
    findings = []
    if split:
        message = (
            f"{ready.name}: {split / items:.1%} of the questions ({split:,} of {items:,}) are read in "
            f"several windows of {ready.max_length:,} tokens, {windows:,} in all; nothing is cut."
        )
        findings.append(Finding("several_windows", "note", message, split))
    if outside:
        answers = sum(bool(e.asked.golds) for part in PARTS for e in shared.splits.part(part))
        share = outside / max(1, answers)
        level: Literal["note", "warning"] = "warning" if share > MOST_OUTSIDE else "note"
        message = (
            f"{ready.name}: {plural(outside, 'answerable question has', 'answerable questions have')} "
            f"no gold answer that stands whole in one window ({share:.1%}): it cannot be found. "
            "A larger encode.stride helps where it is longer than that."
        )
        findings.append(Finding("answer_outside", level, message, outside, shown[:SHOWN]))
    return findings


def asking_of(shared: Shared, arm: Arm, ready: Ready, seed: int) -> Asking:
    """How the arm puts its questions to the model."""
    settings = shared.recipe.encode
    shots = shots_of(shared, arm, seed)
    return Asking(
        ready.tokenizer,
        ready.family,
        shared.question_prompt,
        shots,
        ready.max_length,
        settings.truncate,
        settings.chat,
        settings.answer_tokens,
    )


def audit_question_arm(shared: Shared, arm: Arm, ready: Ready, seed: int) -> list[Finding]:
    """The arm's prompt around some test questions: contexts that are cut, golds lost by it, shots.

    Raises: RecipeError where the prompt does not fit.
    """
    asking = asking_of(shared, arm, ready, seed)
    items = shared.splits.test[:ASKED_ITEMS]
    found = encode_questions(asking, items)
    findings = audit_shots(asking.shots, [*shared.splits.dev, *shared.splits.test])
    cut, lost = int(found.asked.truncated_N.sum()), int(found.outside_N.sum())
    if cut:
        message = (
            f"{arm.name}: of {plural(len(items), 'test question', 'test questions')} looked at, "
            f"{plural(cut, 'context is', 'contexts are')} cut to fit encode.max_length "
            f"{ready.max_length:,}, and {lost:,} lose their answer by it."
        )
        level: Literal["note", "warning"] = "warning" if lost else "note"
        findings.append(Finding("context_cut", level, message, cut))
    if arm.method.kind == "tuned":
        findings += _audit_golds(shared, arm, asking)
    return [replace(each, message=f"{ready.name}: {each.message}") for each in findings]


def _audit_golds(shared: Shared, arm: Arm, asking: Asking) -> list[Finding]:
    """Answers of train that are too long to be learnt with their end."""
    items = shared.splits.train[:ASKED_ITEMS]
    golds = [gold_text(item, asking.prompt) for item in items]
    cut = int(encode_questions(asking, items, golds).cut_N.sum())
    if not cut:
        return []
    message = (
        f"{arm.name}: of {plural(len(items), 'train question', 'train questions')} looked at, "
        f"{plural(cut, 'answer is', 'answers are')} longer than encode.answer_tokens "
        f"{asking.answer_tokens} and learnt without the end."
    )
    return [Finding("answer_cut", "warning", message, cut)]
