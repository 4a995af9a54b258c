"""Texts with two or more labels: the same text, or texts that differ in case, spaces or punctuation alone.

In: items, the indices of those whose normalised texts are equal, label names. Out: findings.
Knows nothing of: how texts are normalised, splits, reports.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tuneproof.data.findings import MAX_EXAMPLES, Finding, plural
from tuneproof.tasks.task import Example


def audit_conflicts(
    items: Sequence[Example], groups: Sequence[Sequence[int]], labels: Sequence[str]
) -> list[Finding]:
    """Texts that stand with different labels, then those that a model can tell apart by their marks."""
    same: list[list[Example]] = []
    alike: list[list[Example]] = []
    for group in groups:
        if len({items[index].label for index in group}) < 2:
            continue
        by_text: dict[str, list[Example]] = defaultdict(list)
        for index in group:
            by_text[" ".join(items[index].text.split())].append(items[index])
        conflicts = [one for one in by_text.values() if len({item.label for item in one}) > 1]
        same += conflicts
        if not conflicts:
            alike.append([items[index] for index in group])
    findings = []
    if same:
        subject = plural(len(same), "text has", "texts have")
        message = (
            f"{subject} two or more labels ({sum(map(len, same)):,} items): no model can predict all of them "
            "correctly."
        )
        findings.append(_finding("conflicting_labels", message, same, labels))
    if alike:
        subject = plural(len(alike), "text has", "texts have")
        message = (
            f"{subject} another label where only case, spaces or punctuation differ "
            f"({sum(map(len, alike)):,} items): either these decide, or the labels contradict each other."
        )
        findings.append(_finding("labels_by_punctuation", message, alike, labels))
    return findings


def _finding(name: str, message: str, groups: Sequence[Sequence[Example]], labels: Sequence[str]) -> Finding:
    examples = [_example(group, labels) for group in groups[:MAX_EXAMPLES]]
    return Finding(name, "warning", message, sum(map(len, groups)), examples)


def _example(group: Sequence[Example], labels: Sequence[str]) -> dict[str, Any]:
    """The different texts, and the labels of the items."""
    texts = list(dict.fromkeys(item.text[:200] for item in group))[:MAX_EXAMPLES]
    return {
        "text": " | ".join(texts),
        "labels": {item.id: labels[item.label] for item in group[:MAX_EXAMPLES]},
    }
