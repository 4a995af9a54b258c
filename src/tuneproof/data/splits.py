"""Splits items into train, dev and test without leaks: train learns, dev chooses, test reports.

In: a task, its rows, the settings. Out: three lists of examples and the report for splits.json.
Knows nothing of: tokens, models, files.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.audit_lookalikes import measure_lookalikes
from tuneproof.data.groups import group_by_similarity, join_groups, merge_group_names
from tuneproof.data.stratify import assign_parts, keep_units_whole, stratified_order
from tuneproof.errors import DataError, RecipeError
from tuneproof.settings import SplitSettings
from tuneproof.tasks.normalise import normalise_text
from tuneproof.tasks.task import Example, Overlap, Rows, Task

Key = Callable[[str], str]
OverlapRule = Callable[[Sequence[str], Sequence[str]], Overlap]
PARTS = ("train", "dev", "test")
_KEYS_IN_MEMORY = 2_000_000  # normalised texts; of more, each is normalised whenever it is needed


@dataclass(frozen=True)
class Splits:
    """The three parts, each in a seeded order whose prefixes are stratified by label.

    `columns` names the items' further values, by which the report slices the scores.

    `report` is the content of splits.json without the ids: kind, shares, leak_safe, seed, grouped; for
    each part sizes, labels, groups and fingerprints; `dropped` by reason; `overlap` and `lookalikes` of
    test in train; `merged_groups` by name; `corrections` of labels: the file, how many in which part, if any;
    `test_clusters`, the groups of test joined where they share a text, which are the
    items' `group` and what varies independently, and whether they are fewer than its items (`clustered`).
    """

    train: Sequence[Example]
    dev: Sequence[Example]
    test: Sequence[Example]
    labels: tuple[str, ...]
    grouped: bool
    report: dict[str, Any]
    columns: tuple[str, ...] = ()

    @property
    def clustered(self) -> bool:
        """Whether several test items share a group or a text."""
        return bool(self.report.get("clustered", self.grouped))

    def part(self, name: str) -> Sequence[Example]:
        """The part called train, dev or test."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[name]


def make_splits(task: Task, rows: Rows, settings: SplitSettings) -> Splits:
    """Split the rows, remove from train what leaks a held-out item, cut the parts to their sizes.

    Raises: RecipeError if the settings do not fit the source; DataError if a part would be empty or
    miss a label.
    """
    kind = _choose_kind(rows, settings)
    rows, merged = merge_group_names(rows)
    if settings.group_by == "similarity":
        rows = group_by_similarity(rows)
    random = np.random.default_rng([settings.seed, 1])
    dropped: Counter[str] = Counter(dict(rows.dropped))
    key: Key = lru_cache(_KEYS_IN_MEMORY)(normalise_text)
    if kind == "official":
        parts = {name: list(items) for name, items in rows.parts.items()}
        own_parts = {"dev"} - set(parts)
    else:
        pool = [item for part in rows.parts.values() for item in part]
        names = PARTS if len(settings.shares) == 3 else ("train", "test")
        cut = _cut(pool, rows, settings, settings.shares, random, key)
        parts, own_parts = dict(zip(names, cut, strict=True)), {"dev", "test"}
    if "dev" not in parts:
        shares = (1 - settings.dev_share, settings.dev_share)
        cut = _cut(parts["train"], rows, settings, shares, random, key)
        parts["train"], parts["dev"] = cut
    if settings.leak_safe:
        _remove_leaks(parts, own_parts, rows.grouped, task.overlaps, key, dropped)
    _check_parts(parts, rows.labels, settings)
    if settings.balance_train:
        parts["train"] = _balance(parts["train"], len(rows.labels), settings.seed, dropped)
    parts = {name: _cut_to_size(parts[name], name, rows.labels, settings) for name in PARTS}
    corrections = _correct(parts, rows)
    if corrections:
        _check_parts(parts, rows.labels, settings)
    report = _report(task, rows, parts, settings, kind, dropped, key)
    # a text that occurs ten times is answered ten times alike: its items are not ten pieces of evidence
    parts["test"] = join_groups(parts["test"], [key(item.text) for item in parts["test"]])
    clusters = len({item.group for item in parts["test"]})
    report |= {"clustered": clusters < len(parts["test"]), "test_clusters": clusters, "merged_groups": merged}
    report |= {"corrections": corrections} if corrections else {}
    return Splits(**parts, labels=rows.labels, grouped=rows.grouped, report=report, columns=rows.columns)


def _correct(parts: dict[str, list[Example]], rows: Rows) -> dict[str, Any]:
    """Correct the labels of the items of each part; by which file, and how many in which part."""
    if not rows.corrected:
        return {}
    counts = {}
    for name, items in parts.items():
        counts[name] = sum(item.id in rows.corrected for item in items)
        parts[name] = [replace(item, label=rows.corrected.get(item.id, item.label)) for item in items]
    left_out = len(rows.corrected) - sum(counts.values())
    files = [file["path"] for file in rows.source.get("corrections") or ()]
    return {"files": files, "parts": counts, "left_out": left_out}


def _choose_kind(rows: Rows, settings: SplitSettings) -> str:
    if settings.group_by == "similarity" and not settings.leak_safe:
        problem = "is similarity, but split.leak_safe: false keeps no group together."
        raise RecipeError("split.group_by", problem, do="Leave one of the two out.")
    if settings.kind == "official" and "test" not in rows.parts:
        problem = "is official, but the source has no test set."
        raise RecipeError("split.kind", problem, do="Set split.kind: shares, or name a test file.")
    if any(share <= 0 for share in settings.shares):
        shares = ":".join(f"{share:g}" for share in settings.shares)
        problem = f"{shares} has a share that is not above zero."
        raise RecipeError("split.shares", problem, do="Write [70, 10, 20].")
    has_test = "test" in rows.parts
    return ("official" if has_test else "shares") if settings.kind == "auto" else settings.kind


def _number_groups(names: Iterable[str], count: int) -> NDArray[np.int64]:
    """The number of each of `count` names in the order of first appearance; equal hashes count as equal."""
    hashes_N = np.fromiter(map(hash, names), np.int64, count)
    _, first, inverse_N = np.unique(hashes_N, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse_N]


def _cut(
    items: list[Example],
    rows: Rows,
    settings: SplitSettings,
    shares: Sequence[float],
    random: np.random.Generator,
    key: Key,
) -> list[list[Example]]:
    """The items in one part per share; leak-safe splits keep groups or equal texts together."""
    groups = np.arange(len(items))
    if settings.leak_safe:
        names = (item.group if rows.grouped else key(item.text) for item in items)
        groups = _number_groups(names, len(items))
    if len(items) > 1 and groups.max(initial=0) == 0:
        reason, do = "have the same text", "Check that text: names the right column."
        if settings.group_by == "similarity":
            reason, do = "look alike, directly or by way of others", "Leave split.group_by out."
        elif rows.grouped:
            reason = f"belong to the group {items[0].group!r}"
            do = "Name another group column, or leave group out."
        problem = f"all {len(items):,} items {reason}, so that no part can be held out."
        raise DataError("split", problem, do=do)
    labels = np.array([item.label for item in items], dtype=np.int64)
    part_N = assign_parts(labels, groups, shares, random)
    return [[items[i] for i in np.flatnonzero(part_N == part)] for part in range(len(shares))]


def find_same_texts(train: Sequence[str], held: Sequence[str], key: Key) -> Overlap:
    """Train texts that equal a held-out text when both are normalised."""
    held_keys = list(map(key, held))
    index_of = dict.fromkeys(held_keys, -1)
    leaks_T = np.zeros(len(train), dtype=bool)
    for index, name in enumerate(map(key, train)):
        if name in index_of:
            leaks_T[index], index_of[name] = True, index
    leaked_by_H = np.array([index_of[name] for name in held_keys], dtype=np.int64)
    return Overlap(leaks_T, leaked_by_H, np.zeros(len(held), dtype=bool))


def _texts(items: Sequence[Example]) -> list[str]:
    return [item.text for item in items]


def _remove_leaks(
    parts: dict[str, list[Example]],
    own_parts: set[str],
    grouped: bool,
    rule: OverlapRule | None,
    key: Key,
    dropped: Counter[str],
) -> None:
    """Remove items that leak a held-out item, and count them.

    If the task's items contain each other, an item that a train text contains as well ("the film") is
    removed from a held-out part of our own: it tests nothing, and keeping it would cost every train
    text around it. An official part is never changed.
    """

    def leave_out(name: str, drop: NDArray[np.bool_], reason: str) -> None:
        if drop.any():
            dropped[f"{name}: {reason}"] += int(drop.sum())
            parts[name] = [item for item, leave in zip(parts[name], drop, strict=True) if not leave]

    for name, learnt in (("test", ("train", "dev")), ("dev", ("train",))):
        if name in own_parts and rule is not None:
            learnt_texts = [item.text for part in learnt for item in parts[part]]
            contained = rule(learnt_texts, _texts(parts[name])).contained_H
            leave_out(name, contained, "contained in a training text")
    for name, held in (("dev", "test"), ("train", "test"), ("train", "dev")):
        if grouped:
            held_groups = {item.group for item in parts[held]}
            same_group = np.array([item.group in held_groups for item in parts[name]], dtype=bool)
            leave_out(name, same_group, f"same group as a {held} item")
        same_text = find_same_texts(_texts(parts[name]), _texts(parts[held]), key).leaks_T
        leave_out(name, same_text, f"same text as a {held} item")
        if rule is not None:
            leaks = rule(_texts(parts[name]), _texts(parts[held])).leaks_T
            leave_out(name, leaks, f"overlaps a {held} item")


def _check_parts(
    parts: Mapping[str, Sequence[Example]], labels: Sequence[str], settings: SplitSettings
) -> None:
    total = sum(len(items) for items in parts.values())
    for name in PARTS:
        if not parts[name]:
            raise DataError(
                "split",
                f"{name} would be empty (train {len(parts['train']):,}, dev {len(parts['dev']):,}, "
                f"test {len(parts['test']):,} items).",
                do="Change split.shares or split.dev_share, or add items, or use smaller groups.",
            )
        counts = Counter(item.label for item in parts[name])
        missing = [label for index, label in enumerate(labels) if not counts[index]]
        if missing:
            raise DataError(
                "split",
                f"{name} would have no item of the label {missing[0]!r} ({len(parts[name]):,} of "
                f"{total:,} items are in {name}).",
                do="Add items of that label, give the part a larger share, or remove the label.",
            )


def _balance(items: Sequence[Example], labels: int, seed: int, dropped: Counter[str]) -> list[Example]:
    """The items without a seeded part of each larger class, in their order."""
    label_N = np.array([item.label for item in items])
    smallest = int(np.bincount(label_N, minlength=labels).min())
    random = np.random.default_rng([seed, 3])
    keep_N = np.zeros(len(items), dtype=bool)
    for label in range(labels):
        keep_N[random.permutation(np.flatnonzero(label_N == label))[:smallest]] = True
    if not keep_N.all():
        dropped["train: beyond balance_train"] = int((~keep_N).sum())
    return [item for item, keep in zip(items, keep_N, strict=True) if keep]


def _cut_to_size(
    items: Sequence[Example], name: str, labels: Sequence[str], settings: SplitSettings
) -> list[Example]:
    """The part in its seeded order, cut to its size; a smaller part is a prefix of a larger one."""
    size = getattr(settings, f"{name}_size")
    if size is not None and size < len(labels):
        problem = f"{size} is less than the number of labels, {len(labels)}."
        raise RecipeError(f"split.{name}_size", problem, do="Raise it: each label needs an item.")
    random = np.random.default_rng([settings.seed, 2, PARTS.index(name)])
    order = stratified_order(np.array([item.label for item in items], dtype=np.int64), random)
    if size is not None and settings.sample_unit != "item":
        order = keep_units_whole(order, [_unit(item, settings.sample_unit) for item in items], size)
        if not len(order):
            problem = f"no {settings.sample_unit} of {name} has {size:,} items or fewer."
            raise RecipeError(f"split.{name}_size", problem, do="Raise it.")
    return [items[index] for index in order[:size]]


def _unit(item: Example, unit: str) -> str:
    """The paragraph or the group of an item; a text without a question is its own paragraph."""
    if unit == "group":
        return item.group
    return item.question.paragraph if item.question is not None else item.id


def sample_indices(train: Sequence[Example], size: int, seed: int) -> NDArray[np.int64]:
    """Indices of `size` train items, in a seeded order whose prefixes are stratified by label."""
    random = np.random.default_rng([seed, 3])
    labels = np.array([item.label for item in train], dtype=np.int64)
    return stratified_order(labels, random)[:size]


def fingerprint(items: Sequence[Example], labels: Sequence[str]) -> str:
    """SHA-256 of the (id, text, label, answers) of all items, in the order of the ids."""
    digest = hashlib.sha256()
    for item in sorted(items, key=lambda item: item.id):
        answers = [] if item.question is None else [item.question.answers]
        line = json.dumps([item.id, item.text, labels[item.label], *answers]) + "\n"
        digest.update(line.encode())
    return digest.hexdigest()


def measure_overlap(
    train: Sequence[Example], test: Sequence[Example], rule: OverlapRule | None, key: Key
) -> dict[str, Any]:
    """The held-out items that a train item gives away: items, share, examples."""
    leaked_by_H = find_same_texts(_texts(train), _texts(test), key).leaked_by_H
    if rule is not None:
        rule_H = rule(_texts(train), _texts(test)).leaked_by_H
        leaked_by_H = np.where(leaked_by_H >= 0, leaked_by_H, rule_H)
    examples = [
        {
            "test_id": test[index].id,
            "test": test[index].text[:300],
            "train_id": train[leaked_by_H[index]].id,
            "train": train[leaked_by_H[index]].text[:300],
        }
        for index in np.flatnonzero(leaked_by_H >= 0)[:10]
    ]
    count = int((leaked_by_H >= 0).sum())
    return {"items": count, "share": count / len(test), "examples": examples}


def _is_sorted(items: Sequence[Example]) -> bool:
    labels = np.array([item.label for item in items])
    classes = len(np.unique(labels))
    return classes > 1 and len(labels) > 10 * classes and int((np.diff(labels) != 0).sum()) < classes


def _count_labels(items: Sequence[Example], labels: Sequence[str]) -> dict[str, int]:
    counts = Counter(item.label for item in items)
    return {label: counts[index] for index, label in enumerate(labels)}


def _report(
    task: Task,
    rows: Rows,
    parts: Mapping[str, list[Example]],
    settings: SplitSettings,
    kind: str,
    dropped: Mapping[str, int],
    key: Key,
) -> dict[str, Any]:
    return {
        "kind": kind,
        "shares": list(settings.shares) if kind == "shares" else None,
        "leak_safe": settings.leak_safe,
        "group_by": settings.group_by,
        "grouped": rows.grouped,
        "seed": settings.seed,
        "sizes": {name: len(parts[name]) for name in PARTS},
        "labels": {name: _count_labels(parts[name], rows.labels) for name in PARTS},
        "groups": {name: len({item.group for item in parts[name]}) for name in PARTS},
        "dropped": dict(sorted(dropped.items())),
        "overlap": measure_overlap(parts["train"], parts["test"], task.overlaps, key),
        "lookalikes": measure_lookalikes(parts["train"], parts["test"]),
        "sorted_by_label": [name for name, items in rows.parts.items() if _is_sorted(items)],
        "source": dict(rows.source),
        "remarks": list(map(asdict, rows.remarks)),
        "fingerprints": {name: fingerprint(parts[name], rows.labels) for name in PARTS},
    }
