"""Problems and risks in questions: answers and their positions, questions that reveal the label.

In: splits of a task of questions. Out: findings, each with its numbers.
Knows nothing of: tokenizers, models, reports.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tuneproof.data.findings import MAX_EXAMPLES, Finding, blocking_finding, plural
from tuneproof.data.splits import PARTS, Splits
from tuneproof.metrics.words import is_unspaced
from tuneproof.tasks.task import Example

MAX_PROBE_AUC = 0.8  # of the question's words only; SQuAD 2.0's own dev part has about 0.6
MIN_PER_LABEL = 20  # in dev, for the probe to mean something


def audit_questions(splits: Splits) -> list[Finding]:
    """Everything that questions, contexts and answers reveal."""
    items = [(part, item) for part in PARTS for item in splits.part(part)]
    if not any(item.required_question.question for _, item in items):
        return _unspaced(splits)  # written answers are texts of their own
    return [
        *_absent(items),
        *_positions(items),
        *_unanswerable(splits),
        *_probe_questions(splits),
        *_unspaced(splits),
    ]


def first_per_paragraph(items: Sequence[tuple[str, Example]]) -> list[tuple[str, Example]]:
    """The first item of every paragraph and part, with the context as its text."""
    first: dict[tuple[str, str], tuple[str, Example]] = {}
    for part, item in items:
        question = item.required_question
        context = Example(item.id, question.context, item.label, item.group)
        first.setdefault((part, question.paragraph), (part, context))
    return list(first.values())


def _describe(part: str, item: Example, **more: Any) -> dict[str, Any]:
    return {"part": part, "id": item.id, "question": item.required_question.question[:200], **more}


def _absent(items: Sequence[tuple[str, Example]]) -> list[Finding]:
    """Items with a gold answer that is not in the context."""
    absent = [
        (part, item, gold.text)
        for part, item in items
        for gold in item.required_question.golds
        if gold.start < 0
    ]
    if not absent:
        return []
    ids = dict.fromkeys(item.id for _, item, _ in absent)
    message = (
        f"{plural(len(ids), 'question has', 'questions have')} an answer that is not in the "
        "context: no span can be correct, and none is learnt from it."
    )
    examples = [_describe(part, item, answer=text[:200]) for part, item, text in absent[:MAX_EXAMPLES]]
    return [blocking_finding("answer_not_in_context", message, len(ids), examples)]


def _positions(items: Sequence[tuple[str, Example]]) -> list[Finding]:
    """Answers whose start in the source is wrong, or missing while the answer occurs several times."""
    moved, searched = [], []
    for part, item in items:
        for gold in item.required_question.golds:
            if gold.start_from == "moved":
                moved.append((part, item, gold.text))
            elif gold.start_from == "searched" and item.required_question.context.count(gold.text) > 1:
                searched.append((part, item, gold.text))
    findings = []
    if moved:
        message = (
            f"{plural(len(moved), 'answer is', 'answers are')} not where answer_start says; the nearest "
            "occurrence is used. Check whether the offsets count bytes, or belong to another text."
        )
        examples = [_describe(part, item, answer=text[:200]) for part, item, text in moved[:MAX_EXAMPLES]]
        findings.append(Finding("answer_moved", "warning", message, len(moved), examples))
    if searched:
        message = (
            f"{plural(len(searched), 'answer', 'answers')} without answer_start can be found several "
            "times in the context; the first occurrence is used."
        )
        examples = [_describe(part, item, answer=text[:200]) for part, item, text in searched[:MAX_EXAMPLES]]
        findings.append(Finding("answer_ambiguous", "note", message, len(searched), examples))
    return findings


def _unanswerable(splits: Splits) -> list[Finding]:
    """The shares of unanswerable questions."""
    if len(splits.labels) < 2:
        message = (
            "Every question is answerable: the scores are those of SQuAD v1.1, and never answering is "
            "always wrong."
        )
        return [Finding("all_answerable", "note", message, len(splits.test))]
    shares = {part: float(np.mean([item.label for item in splits.part(part)])) for part in PARTS}
    listed = ", ".join(f"{share:.1%} of {part}" for part, share in shares.items())
    difference = abs(shares["train"] - shares["test"])
    level: Literal["note", "warning"] = "warning" if difference > 0.2 else "note"
    message = f"Unanswerable are {listed}: never answering scores {shares['test']:.1%} on test."
    if level == "warning":
        message += (
            " Train and test differ: the model learns train's share, and the threshold chosen on dev fits it."
        )
    count = sum(item.label for item in splits.test)
    return [Finding("unanswerable", level, message, count)]


def _unspaced(splits: Splits) -> list[Finding]:
    """Gold answers of test whose script sets no spaces between words."""
    golds = [gold.text for item in splits.test for gold in item.required_question.golds]
    count = sum(map(is_unspaced, golds))
    if not count:
        return []
    message = (
        f"{count / len(golds):.1%} of test's gold answers are in a script without spaces between words: F1, "
        "BLEU, METEOR and ROUGE count each of its characters as a word, as MLQA does and SQuAD's own script "
        "does not."
    )
    return [Finding("unspaced_answers", "note", message, count)]


def _probe_questions(splits: Splits) -> list[Finding]:
    """Whether the words of the question, as written, reveal if it is answerable."""
    if len(splits.labels) < 2:
        return []
    gold = {part: np.array([i.label for i in splits.part(part)]) for part in ("train", "dev")}
    if min(np.bincount(gold["dev"], minlength=2)) < MIN_PER_LABEL:
        return []
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline

    texts = {p: [item.required_question.question for item in splits.part(p)] for p in ("train", "dev")}
    probe = make_pipeline(
        CountVectorizer(lowercase=False, token_pattern=r"\w+|[^\w\s]", binary=True),
        LogisticRegression(max_iter=2000, class_weight="balanced"),
    ).fit(texts["train"], gold["train"])
    area = float(roc_auc_score(gold["dev"], probe.decision_function(texts["dev"])))
    message = (
        "The words of the question, without its context, separate the answerable questions of dev "
        f"from the others with an AUC of {area:.2f} (0.5 is chance)."
    )
    if area <= MAX_PROBE_AUC:
        return [Finding("question_probe", "note", message, len(texts["dev"]))]
    words = probe[0].get_feature_names_out()
    weight = probe[1].coef_[0]
    order = np.argsort(weight)
    examples = [
        {"label": "unanswerable", "words": ", ".join(words[order[::-1][:12]])},
        {"label": "answerable", "words": ", ".join(words[order[:12]])},
    ]
    cased = any(text != text.lower() for text in texts["train"])
    hint = " If the casing is the cause, set lowercase: true on the task." if cased else ""
    message += " A model can abstain without reading the context, so its scores say little." + hint
    return [Finding("question_tells_label", "warning", message, len(texts["dev"]), examples)]
