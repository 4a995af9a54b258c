"""Problems and risks in the data, found before any training.

In: splits. Out: findings, each with its numbers; those about tokens come from audit_tokens.
Knows nothing of: tokenizers, models, reports.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tuneproof.data.audit_conflicts import audit_conflicts
from tuneproof.data.audit_corrections import audit_corrections
from tuneproof.data.audit_lookalikes import audit_lookalikes, audit_merged_groups
from tuneproof.data.audit_questions import audit_questions, first_per_paragraph
from tuneproof.data.audit_tokens import audit_encoding, audit_shots
from tuneproof.data.duplicates import NEAR, find_near_pairs
from tuneproof.data.findings import MAX_EXAMPLES, Finding, blocking_finding, plural, stop_on_errors
from tuneproof.data.splits import PARTS, Splits
from tuneproof.tasks.normalise import normalise_text
from tuneproof.tasks.task import Example, Task

__all__ = ["Finding", "audit_encoding", "audit_shots", "audit_splits", "list_checks", "stop_on_errors"]

MAX_MAJORITY = 0.9
MAX_LEAK_SHARE = 0.01
MAX_REPEATED_SHARE = 0.05
SMALL_TEST_SIZE = 100


def _describe(item: Example, part: str) -> dict[str, Any]:
    return {"part": part, "id": item.id, "text": item.text[:200]}


CHECKS = (
    "empty texts",
    "test items that overlap with train",
    "test items that look like a training item",
    "equal or similar texts within and across train, dev and test",
    "equal texts with different labels, and texts whose case, spaces or punctuation alone decide the label",
    "a small test set",
    "rows sorted by label",
    "items left out",
)
CHECKS_OF_KIND = {
    "labels": ("unbalanced labels", "labels that join others or mean a missing value"),
    "questions": (
        "answers that are not where answer_start says",
        "unanswerable questions, and questions whose words give the label away",
        "answers in a script without spaces between words",
    ),
    "answers": ("answers in a script without spaces between words", "answers that are too long"),
}


def list_checks(task: Task, encoded: bool) -> list[str]:
    """What `audit_splits` looks for, and, if items are `encoded`, what audit_tokens looks for."""
    tokens = ["items that are too long for the model, and malformed prompts"] if encoded else []
    return [*CHECKS, *CHECKS_OF_KIND["answers" if task.written else task.kind], *tokens]


def audit_splits(task: Task, splits: Splits) -> list[Finding]:
    """Everything that texts and labels reveal, errors first.

    For questions, near duplicates are searched among the paragraphs, and `audit_questions` replaces the
    balance of the labels.
    """
    is_questions = task.kind == "questions"
    items = [(part, item) for part in PARTS for item in splits.part(part)]
    groups = _group_equal(items)
    findings = [
        *_empty(items),
        *_leak(task, splits),
        *audit_lookalikes(splits.report),
        *_duplicates(items, groups),
        *_repeated(splits, items, groups),
        *audit_conflicts([item for _, item in items], groups, splits.labels),
        *(_near_paragraphs(items) if is_questions else _near(items, groups)),
        *(audit_questions(splits) if is_questions else _balance(splits)),
        *_sizes(splits),
        *_left_out(splits),
        *(Finding(**remark) for remark in splits.report.get("remarks", ())),
        *audit_merged_groups(splits.report),
        *audit_corrections(splits.report),
    ]
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.level))


_Items = Sequence[tuple[str, Example]]


def _group_equal(items: _Items) -> list[list[int]]:
    """The indices of items with equal normalised texts, of two items or more."""
    hashes_N = np.fromiter((hash(normalise_text(item.text)) for _, item in items), np.int64, len(items))
    _, inverse_N, counts = np.unique(hashes_N, return_inverse=True, return_counts=True)
    groups: dict[str, list[int]] = defaultdict(list)
    for index in np.flatnonzero(counts[inverse_N] > 1).tolist():  # equal hashes, almost always equal texts
        groups[normalise_text(items[index][1].text)].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _empty(items: _Items) -> list[Finding]:
    empty = [(part, item) for part, item in items if not item.text.strip()]
    if not empty:
        return []
    message = f"{plural(len(empty), 'text is', 'texts are')} empty."
    examples = [_describe(item, part) for part, item in empty[:MAX_EXAMPLES]]
    return [blocking_finding("empty_text", message, len(empty), examples)]


def _leak(task: Task, splits: Splits) -> list[Finding]:
    leak = splits.report["overlap"]
    if not leak["items"]:
        return []
    rule = " (the same text)"
    if task.overlaps:
        rule = " (the same paragraph)" if task.kind == "questions" else " (equal, or one contains the other)"
    message = (
        f"Train overlaps with {leak['items']:,} of {len(splits.test):,} test items, {leak['share']:.1%}{rule}"
    )
    message += "." if splits.report["leak_safe"] else "; split.leak_safe: true prevents it."
    level: Literal["note", "warning"] = "warning" if leak["share"] > MAX_LEAK_SHARE else "note"
    return [Finding("leaky_split", level, message, leak["items"], leak["examples"][:MAX_EXAMPLES])]


def _across(
    name: str, problem: str, held_out: Mapping[str, set[int]], pairs: Sequence[tuple[int, int]], items: _Items
) -> Finding:
    """A finding about held-out items that are also in an earlier part; pairs: (held-out, earlier)."""
    total = sum(len(indices) for indices in held_out.values())
    counts = ", ".join(f"{len(indices):,} of {part}" for part, indices in held_out.items() if indices)
    share = len(held_out["test"]) / max(1, sum(part == "test" for part, _ in items))
    examples = [
        {
            **_describe(items[held][1], items[held][0]),
            "earlier": _describe(items[earlier][1], items[earlier][0]),
        }
        for held, earlier in pairs[:MAX_EXAMPLES]
    ]
    message = f"{plural(total, 'held-out item is', 'held-out items are')} {problem} ({counts})."
    return Finding(name, "warning" if share > MAX_LEAK_SHARE else "note", message, total, examples)


def _duplicates(items: _Items, groups: Sequence[Sequence[int]]) -> list[Finding]:
    rule = "same text except for case, spaces and punctuation"
    held_out: dict[str, set[int]] = {"dev": set(), "test": set()}
    pairs = []
    repeats = 0
    examples = []
    for group in groups:
        first = items[group[0]][0]  # the items are in the order train, dev, test
        for index in group[1:]:
            if items[index][0] != first:
                held_out[items[index][0]].add(index)
                pairs.append((index, group[0]))
        in_train = sum(items[index][0] == "train" for index in group)
        if in_train > 1:
            repeats += in_train - 1
            examples.append({**_describe(items[group[0]][1], "train"), "times": in_train})
    findings = []
    if pairs:
        findings.append(
            _across("duplicates_across", f"also in an earlier part, {rule}", held_out, pairs, items)
        )
    if repeats:
        examples.sort(key=lambda example: -example["times"])
        subject = plural(repeats, "training item repeats", "training items repeat")
        message = f"{subject} another one ({rule})."
        findings.append(Finding("duplicates_in_train", "note", message, repeats, examples[:MAX_EXAMPLES]))
    return findings


def _repeated(splits: Splits, items: _Items, groups: Sequence[Sequence[int]]) -> list[Finding]:
    """Test items that say nothing new, because another test item has the same text."""
    in_test = [[index for index in group if items[index][0] == "test"] for group in groups]
    repeated = [group for group in in_test if len(group) > 1]
    count = sum(len(group) - 1 for group in repeated)
    if not count:
        return []
    share = count / len(splits.test)
    most = max(repeated, key=len)
    subject = plural(count, "test item repeats", "test items repeat")
    message = (
        f"{subject} the text of another one ({share:.1%}). Items with one text count as one in intervals and "
        f"tests: {splits.report['test_clusters']:,} instead of {len(splits.test):,}."
    )
    examples = [{**_describe(items[most[0]][1], "test"), "times": len(most)}]
    level: Literal["note", "warning"] = "warning" if share > MAX_REPEATED_SHARE else "note"
    return [Finding("repeated_in_test", level, message, count, examples)]


def _near(items: _Items, groups: Sequence[Sequence[int]]) -> list[Finding]:
    """Near duplicates among different texts; equal ones are counted elsewhere."""
    rule = f"Jaccard similarity of 5-word shingles {NEAR} or more"
    is_first = np.ones(len(items), dtype=bool)
    is_first[[index for group in groups for index in group[1:]]] = False
    representatives = np.flatnonzero(is_first).astype(np.int32)
    near = find_near_pairs([items[index][1].text for index in representatives.tolist()])
    earlier_M, later_M = representatives[near.first_M], representatives[near.second_M]
    part_N = np.fromiter((PARTS.index(part) for part, _ in items), np.int8, len(items))
    across_M = part_N[earlier_M] != part_N[later_M]
    in_train = np.unique(later_M[~across_M & (part_N[later_M] == PARTS.index("train"))]).tolist()
    later, earlier = later_M[across_M], earlier_M[across_M]
    held_out = {part: set(later[part_N[later] == PARTS.index(part)].tolist()) for part in ("dev", "test")}
    pairs = list(zip(later[:MAX_EXAMPLES].tolist(), earlier[:MAX_EXAMPLES].tolist(), strict=True))
    findings = []
    if pairs:
        problem = f"nearly the same as an item of an earlier part, {rule}"
        findings.append(_across("near_duplicates_across", problem, held_out, pairs, items))
    if in_train:
        subject = plural(len(in_train), "training item nearly repeats", "training items nearly repeat")
        examples = [_describe(items[index][1], "train") for index in in_train[:MAX_EXAMPLES]]
        message = f"{subject} another one ({rule})."
        findings.append(Finding("near_duplicates_in_train", "note", message, len(in_train), examples))
    return findings


def _near_paragraphs(items: _Items) -> list[Finding]:
    paragraphs = first_per_paragraph(items)
    return _near(paragraphs, _group_equal(paragraphs))


def _balance(splits: Splits) -> list[Finding]:
    findings = []
    for part in ("train", "test"):
        counts = Counter(item.label for item in splits.part(part))
        label, count = counts.most_common(1)[0]
        share = count / len(splits.part(part))
        if share > MAX_MAJORITY:
            message = (
                f"{share:.1%} of {part} are {splits.labels[label]}: always predicting it reaches that "
                "accuracy. Compare with the majority arm, and read the F1."
            )
            findings.append(Finding(f"imbalance_{part}", "warning", message, count))
    return findings


def _sizes(splits: Splits) -> list[Finding]:
    n = len(splits.test)
    findings = []
    if n < SMALL_TEST_SIZE:
        z = 1.96
        half = z * np.sqrt(0.8 * 0.2 / n + z * z / (4 * n * n)) / (1 + z * z / n)
        message = (
            f"The test set has {plural(n, 'item', 'items')}: the 95 % interval of an accuracy near "
            f"80 % is about ± {100 * half:.0f} points."
        )
        findings.append(Finding("small_test", "note", message, n))
    is_sorted = splits.report["sorted_by_label"]
    if is_sorted:
        message = (
            f"The source's rows are sorted by label ({', '.join(is_sorted)}). They are shuffled here; the "
            "first rows of the file would all have one label."
        )
        findings.append(Finding("sorted_labels", "note", message, len(is_sorted)))
    return findings


def _left_out(splits: Splits) -> list[Finding]:
    dropped = splits.report["dropped"]
    total = sum(dropped.values())
    if not total:
        return []
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.items())
    message = f"{plural(total, 'item was', 'items were')} left out ({reasons})."
    return [Finding("left_out", "note", message, total)]
