"""What is wrong or risky in questions: answers and their places, and questions that tell the label.

In: splits of a task of questions. Out: findings, each with its numbers.
Knows nothing of: tokenizers, models, reports.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tuneproof.data.findings import SHOWN, Finding, plural, stopper
from tuneproof.data.splits import PARTS, Splits
from tuneproof.tasks.task import Example

TELLING = 0.8  # AUC of words of the question alone; SQuAD 2.0's own dev part has about 0.6
FEWEST_OF_A_KIND = 20  # of dev, for the probe to mean something


def audit_questions(splits: Splits) -> list[Finding]:
    """Everything that questions, contexts and answers alone can tell."""
    items = [(part, item) for part in PARTS for item in splits.part(part)]
    return [*_absent(items), *_places(items), *_uneven(splits), *_telling(splits)]


def one_a_paragraph(items: Sequence[tuple[str, Example]]) -> list[tuple[str, Example]]:
    """The first item of every paragraph and part, its text the context: for near duplicates."""
    first: dict[tuple[str, str], tuple[str, Example]] = {}
    for part, item in items:
        asked = item.asked
        context = Example(item.id, asked.context, item.label, item.group)
        first.setdefault((part, asked.paragraph), (part, context))
    return list(first.values())


def _shown(part: str, item: Example, **more: Any) -> dict[str, Any]:
    return {"part": part, "id": item.id, "question": item.asked.question[:200], **more}


def _absent(items: Sequence[tuple[str, Example]]) -> list[Finding]:
    """Items with a gold answer that does not stand in the context."""
    found = [(part, item, gold.text) for part, item in items for gold in item.asked.golds if gold.start < 0]
    if not found:
        return []
    ids = dict.fromkeys(item.id for _, item, _ in found)
    message = (
        f"{plural(len(ids), 'question has', 'questions have')} an answer that does not stand in "
        "the context: no span can be right, and none is learnt from it."
    )
    examples = [_shown(part, item, answer=text[:200]) for part, item, text in found[:SHOWN]]
    return [stopper("answer_not_in_context", message, len(ids), examples)]


def _places(items: Sequence[tuple[str, Example]]) -> list[Finding]:
    """Answers whose given place was wrong, or not given and found several times."""
    moved, searched = [], []
    for part, item in items:
        for gold in item.asked.golds:
            if gold.found == "moved":
                moved.append((part, item, gold.text))
            elif gold.found == "searched" and item.asked.context.count(gold.text) > 1:
                searched.append((part, item, gold.text))
    findings = []
    if moved:
        message = (
            f"{plural(len(moved), 'answer stands', 'answers stand')} elsewhere than answer_start "
            "says; the nearest place is taken. Are the offsets bytes, or of another text?"
        )
        shown = [_shown(part, item, answer=text[:200]) for part, item, text in moved[:SHOWN]]
        findings.append(Finding("answer_moved", "warning", message, len(moved), shown))
    if searched:
        message = (
            f"{plural(len(searched), 'answer', 'answers')} without answer_start stand several "
            "times in the context; the first place is taken."
        )
        shown = [_shown(part, item, answer=text[:200]) for part, item, text in searched[:SHOWN]]
        findings.append(Finding("answer_ambiguous", "note", message, len(searched), shown))
    return findings


def _uneven(splits: Splits) -> list[Finding]:
    """Shares of unanswerable questions: what always and never answering are worth."""
    if len(splits.labels) < 2:
        message = (
            "Every question can be answered: scores are those of SQuAD v1.1, and never answering "
            "is always wrong."
        )
        return [Finding("all_answerable", "note", message, len(splits.test))]
    shares = {part: float(np.mean([item.label for item in splits.part(part)])) for part in PARTS}
    said = ", ".join(f"{share:.1%} of {part}" for part, share in shares.items())
    apart = abs(shares["train"] - shares["test"])
    level: Literal["note", "warning"] = "warning" if apart > 0.2 else "note"
    message = f"Without an answer are {said}: never answering scores {shares['test']:.1%} on test."
    if level == "warning":
        message += (
            " Train and test differ: what a model learns about withholding answers, and the "
            "threshold that dev chooses, are for train's share."
        )
    count = sum(item.label for item in splits.test)
    return [Finding("unanswerable", level, message, count)]


def _telling(splits: Splits) -> list[Finding]:
    """Whether the words of the question alone, as they are written, tell if it can be answered."""
    if len(splits.labels) < 2:
        return []
    gold = {part: np.array([i.label for i in splits.part(part)]) for part in ("train", "dev")}
    if min(np.bincount(gold["dev"], minlength=2)) < FEWEST_OF_A_KIND:
        return []
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline

    texts = {p: [item.asked.question for item in splits.part(p)] for p in ("train", "dev")}
    probe = make_pipeline(
        CountVectorizer(lowercase=False, token_pattern=r"\w+|[^\w\s]", binary=True),
        LogisticRegression(max_iter=2000, class_weight="balanced"),
    ).fit(texts["train"], gold["train"])
    area = float(roc_auc_score(gold["dev"], probe.decision_function(texts["dev"])))
    message = (
        "The words of the question alone, without its context, tell the answerable questions of "
        f"dev from the others with an AUC of {area:.2f} (0.5 is chance)."
    )
    if area <= TELLING:
        return [Finding("question_probe", "note", message, len(texts["dev"]))]
    words = probe[0].get_feature_names_out()
    weight = probe[1].coef_[0]
    order = np.argsort(weight)
    examples = [
        {"tells": "unanswerable", "words": ", ".join(words[order[::-1][:12]])},
        {"tells": "answerable", "words": ", ".join(words[order[:12]])},
    ]
    cased = any(text != text.lower() for text in texts["train"])
    hint = " If the casing does it, set lowercase: true on the task." if cased else ""
    message += " A model can abstain without reading, and what it scores on such data says little." + hint
    return [Finding("question_tells_label", "warning", message, len(texts["dev"]), examples)]
