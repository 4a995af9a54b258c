"""What is wrong or risky in the data, before anything is trained.

In: splits. Out: findings, each with its numbers; those about tokens come from audit_tokens.
Knows nothing of: tokenizers, models, reports.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tuneproof.data.audit_questions import audit_questions, one_a_paragraph
from tuneproof.data.audit_tokens import audit_encoding, audit_shots
from tuneproof.data.duplicates import NEAR, near_pairs
from tuneproof.data.findings import SHOWN, Finding, plural, stop_on_errors, stopper
from tuneproof.data.splits import PARTS, Splits
from tuneproof.tasks.normalise import normalised
from tuneproof.tasks.task import Example, Task

__all__ = ["Finding", "audit_encoding", "audit_shots", "audit_splits", "looked_for", "stop_on_errors"]

MOST_MAJORITY = 0.9
MOST_LEAK = 0.01
SMALL_TEST = 100


def _shown(item: Example, part: str) -> dict[str, Any]:
    return {"part": part, "id": item.id, "text": item.text[:200]}


LOOKED_FOR = (
    "empty texts",
    "test items that train gives away",
    "texts that stand twice, equal or nearly, within and across train, dev and test",
    "equal texts with different labels",
    "a small test part",
    "rows sorted by label",
    "items left out",
)
OF_KIND = {
    "labels": ("labels out of balance",),
    "questions": (
        "answers that do not stand where they are said to",
        "unanswerable questions, and questions whose words give the label away",
    ),
}


def looked_for(task: Task, encoded: bool) -> list[str]:
    """What `audit_splits` looks for, and, where items are `encoded`, those of audit_tokens."""
    tokens = ["items that do not fit the model, and prompts gone wrong"] if encoded else []
    return [*LOOKED_FOR, *OF_KIND[task.kind], *tokens]


def audit_splits(task: Task, splits: Splits) -> list[Finding]:
    """Everything that the texts and labels alone can tell, errors first.

    Of questions the paragraphs are looked at for near duplicates, and what they say of themselves
    takes the place of the labels' balance.
    """
    questions = task.kind == "questions"
    items = [(part, item) for part in PARTS for item in splits.part(part)]
    same: dict[str, list[int]] = defaultdict(list)
    for index, (_, item) in enumerate(items):
        same[normalised(item.text)].append(index)
    findings = [
        *_empty(items),
        *_leak(task, splits),
        *_duplicates(items, same),
        *_conflicts(items, same, splits.labels),
        *(_near_paragraphs(items) if questions else _near(items, same)),
        *(audit_questions(splits) if questions else _balance(splits)),
        *_sizes(splits),
        *_left_out(splits),
    ]
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda finding: order.index(finding.level))


_Items = Sequence[tuple[str, Example]]


def _empty(items: _Items) -> list[Finding]:
    empty = [(part, item) for part, item in items if not item.text.strip()]
    if not empty:
        return []
    message = f"{plural(len(empty), 'text is', 'texts are')} empty."
    examples = [_shown(item, part) for part, item in empty[:SHOWN]]
    return [stopper("empty_text", message, len(empty), examples)]


def _leak(task: Task, splits: Splits) -> list[Finding]:
    leak = splits.report["overlap"]
    if not leak["items"]:
        return []
    rule = {
        "questions": " (the same paragraph)",
        "labels": " (equal, or a piece of the other)" if task.overlaps else " (the same text)",
    }[task.kind]
    message = (
        f"Train gives away {leak['items']:,} of {len(splits.test):,} test items, {leak['share']:.1%}{rule}"
    )
    message += "." if splits.report["leak_safe"] else "; split.leak_safe: true prevents it."
    level: Literal["note", "warning"] = "warning" if leak["share"] > MOST_LEAK else "note"
    return [Finding("leaky_split", level, message, leak["items"], leak["examples"][:SHOWN])]


def _across(name: str, how: str, places: Mapping[str, set[int]], pairs: Any, items: _Items) -> Finding:
    """A finding about held-out items that a part to their left holds as well."""
    total = sum(len(found) for found in places.values())
    said = ", ".join(f"{len(found):,} of {part}" for part, found in places.items() if found)
    share = len(places["test"]) / max(1, sum(part == "test" for part, _ in items))
    examples = [
        {**_shown(items[held][1], items[held][0]), "in": _shown(items[seen][1], items[seen][0])}
        for held, seen in pairs[:SHOWN]
    ]
    message = f"{plural(total, 'held-out item', 'held-out items')} ({said}) {how}."
    return Finding(name, "warning" if share > MOST_LEAK else "note", message, total, examples)


def _duplicates(items: _Items, same: Mapping[str, list[int]]) -> list[Finding]:
    places: dict[str, set[int]] = {"dev": set(), "test": set()}
    pairs = []
    within = 0
    example = []
    for twins in same.values():
        if len(twins) < 2:
            continue
        first = items[twins[0]][0]  # the items stand in the order train, dev, test
        for index in twins[1:]:
            if items[index][0] != first:
                places[items[index][0]].add(index)
                pairs.append((index, twins[0]))
        inside = sum(items[index][0] == "train" for index in twins)
        if inside > 1:
            within += inside - 1
            example.append({**_shown(items[twins[0]][1], "train"), "times": inside})
    findings = []
    if pairs:
        how = "stand in an earlier part too (same text but for case, spaces and punctuation)"
        findings.append(_across("duplicates_across", how, places, pairs, items))
    if within:
        example.sort(key=lambda one: -one["times"])
        message = (
            f"{plural(within, 'training item repeats', 'training items repeat')} another one "
            "(same text but for case, spaces and punctuation)."
        )
        findings.append(Finding("duplicates_in_train", "note", message, within, example[:SHOWN]))
    return findings


def _near(items: _Items, same: Mapping[str, list[int]]) -> list[Finding]:
    """Near duplicates among different texts; equal ones are counted elsewhere."""
    one_each = [twins[0] for twins in same.values()]
    found = near_pairs([items[index][1].text for index in one_each])
    places: dict[str, set[int]] = {"dev": set(), "test": set()}
    pairs = []
    within: set[int] = set()
    for a, b in zip(found.first_M.tolist(), found.second_M.tolist(), strict=True):
        a, b = sorted((one_each[a], one_each[b]))
        if items[a][0] == items[b][0] == "train":
            within.add(b)
        elif items[a][0] != items[b][0]:
            places[items[b][0]].add(b)
            pairs.append((b, a))
    findings = []
    if pairs:
        how = f"nearly stand in an earlier part too (Jaccard of 5-word shingles {NEAR} or more)"
        findings.append(_across("near_duplicates_across", how, places, pairs, items))
    if within:
        message = (
            f"{plural(len(within), 'training item nearly repeats', 'training items nearly repeat')}"
            f" another one (Jaccard of 5-word shingles {NEAR} or more)."
        )
        shown = [_shown(items[index][1], "train") for index in sorted(within)[:SHOWN]]
        findings.append(Finding("near_duplicates_in_train", "note", message, len(within), shown))
    return findings


def _near_paragraphs(items: _Items) -> list[Finding]:
    paragraphs = one_a_paragraph(items)
    same: dict[str, list[int]] = defaultdict(list)
    for index, (_, item) in enumerate(paragraphs):
        same[normalised(item.text)].append(index)
    return _near(paragraphs, same)


def _conflicts(items: _Items, same: Mapping[str, list[int]], labels: Sequence[str]) -> list[Finding]:
    conflicts = [twins for twins in same.values() if len({items[i][1].label for i in twins}) > 1]
    if not conflicts:
        return []
    examples = [
        {
            "text": items[twins[0]][1].text[:200],
            "labels": {items[i][1].id: labels[items[i][1].label] for i in twins[:SHOWN]},
        }
        for twins in conflicts[:SHOWN]
    ]
    count = sum(len(twins) for twins in conflicts)
    message = (
        f"{plural(len(conflicts), 'text stands', 'texts stand')} with two labels or more "
        f"({count:,} items): no model can get all of them right."
    )
    return [Finding("conflicting_labels", "warning", message, count, examples)]


def _balance(splits: Splits) -> list[Finding]:
    findings = []
    for part in ("train", "test"):
        counts = Counter(item.label for item in splits.part(part))
        label, most = counts.most_common(1)[0]
        share = most / len(splits.part(part))
        if share > MOST_MAJORITY:
            message = (
                f"{share:.1%} of {part} are {splits.labels[label]}: always saying so has that "
                "accuracy, so read the F1 and the majority arm beside it."
            )
            findings.append(Finding(f"imbalance_{part}", "warning", message, most))
    return findings


def _sizes(splits: Splits) -> list[Finding]:
    n = len(splits.test)
    findings = []
    if n < SMALL_TEST:
        z = 1.96
        half = z * np.sqrt(0.8 * 0.2 / n + z * z / (4 * n * n)) / (1 + z * z / n)
        message = (
            f"The test part has {plural(n, 'item', 'items')}: the 95 % interval of an accuracy near "
            f"80 % is about ± {100 * half:.0f} points."
        )
        findings.append(Finding("small_test", "note", message, n))
    tidy = splits.report["sorted_by_label"]
    if tidy:
        message = (
            f"The source's rows are sorted by label ({', '.join(tidy)}); they are shuffled here; "
            "the first rows of the file alone would be of one label."
        )
        findings.append(Finding("sorted_labels", "note", message, len(tidy)))
    return findings


def _left_out(splits: Splits) -> list[Finding]:
    dropped = splits.report["dropped"]
    total = sum(dropped.values())
    if not total:
        return []
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.items())
    message = f"{plural(total, 'item was', 'items were')} left out ({reasons})."
    return [Finding("left_out", "note", message, total)]
