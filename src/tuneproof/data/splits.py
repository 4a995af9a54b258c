"""Train learns, dev chooses, test reports: which item is in which, and that none gives another away.

In: a task, its rows, the settings. Out: three lists of examples and the report for splits.json.
Knows nothing of: tokens, models, files.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.stratify import allot, stratified_order
from tuneproof.errors import DataError, RecipeError
from tuneproof.settings import SplitSettings
from tuneproof.tasks.normalise import normalised
from tuneproof.tasks.task import Example, Overlap, Rows, Task

Key = Callable[[str], str]
OverlapRule = Callable[[Sequence[str], Sequence[str]], Overlap]
PARTS = ("train", "dev", "test")


@dataclass(frozen=True)
class Splits:
    """The three parts, each in a seeded order whose prefixes are stratified by label.

    `columns` name the items' further values, by which the report slices.

    `report` is what splits.json holds: kind, shares, leak_safe, seed, grouped; and by part sizes,
    labels, groups, fingerprints and ids; `dropped` by reason; `overlap` of train with test.
    """

    train: list[Example]
    dev: list[Example]
    test: list[Example]
    labels: tuple[str, ...]
    grouped: bool
    report: dict[str, Any]
    columns: tuple[str, ...] = ()

    def part(self, name: str) -> list[Example]:
        """The part called train, dev or test."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[name]


def make_splits(task: Task, rows: Rows, settings: SplitSettings) -> Splits:
    """Divide the rows, leave out of train what gives a held-out item away, cut to the sizes asked.

    Raises: RecipeError where the settings and the source do not fit; DataError where a part would
    be empty or lack a label.
    """
    kind = _kind(rows, settings)
    random = np.random.default_rng([settings.seed, 1])
    dropped: Counter[str] = Counter(dict(rows.dropped))
    key: Key = cache(normalised)
    if kind == "official":
        parts = {name: list(rows.parts[name]) for name in PARTS if name in rows.parts}
        ours = {"dev"} - set(parts)
    else:
        pool = [item for part in rows.parts.values() for item in part]
        names = PARTS if len(settings.shares) == 3 else ("train", "test")
        cut = _cut(pool, rows, settings, settings.shares, random, key)
        parts, ours = dict(zip(names, cut, strict=True)), {"dev", "test"}
    if "dev" not in parts:
        shares = (1 - settings.dev_share, settings.dev_share)
        cut = _cut(parts["train"], rows, settings, shares, random, key)
        parts["train"], parts["dev"] = cut
    if settings.leak_safe:
        _make_safe(parts, ours, rows.grouped, task.overlaps, key, dropped)
    _refuse_poor(parts, rows.labels, settings)
    if settings.balance_train:
        kept = _balanced(parts["train"], len(rows.labels), settings.seed)
        if len(kept) < len(parts["train"]):
            dropped["train: beyond balance_train"] = len(parts["train"]) - len(kept)
        parts["train"] = kept
    parts = {name: _sized(parts[name], name, rows.labels, settings) for name in PARTS}
    return Splits(
        train=parts["train"],
        dev=parts["dev"],
        test=parts["test"],
        labels=rows.labels,
        grouped=rows.grouped,
        report=_report(task, rows, parts, settings, kind, dropped, key),
        columns=rows.columns,
    )


def _kind(rows: Rows, settings: SplitSettings) -> str:
    if settings.kind == "official" and "test" not in rows.parts:
        raise RecipeError(
            "split.kind",
            "official, but the source has no test part.",
            do="Set split.kind: shares, or name a test file.",
        )
    if any(share <= 0 for share in settings.shares):
        shown = ":".join(f"{share:g}" for share in settings.shares)
        raise RecipeError(
            "split.shares", f"{shown} has a share that is not above zero.", do="Write [70, 10, 20]."
        )
    has_test = "test" in rows.parts
    return ("official" if has_test else "shares") if settings.kind == "auto" else settings.kind


def _numbers(names: Sequence[str]) -> NDArray[np.int64]:
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(name, len(seen)) for name in names], dtype=np.int64)


def _cut(
    items: list[Example],
    rows: Rows,
    settings: SplitSettings,
    shares: Sequence[float],
    random: np.random.Generator,
    key: Key,
) -> list[list[Example]]:
    """The items in as many parts as there are shares; safe splits keep groups and equal texts whole."""
    if not settings.leak_safe:
        groups = np.arange(len(items))
    elif rows.grouped:
        groups = _numbers([item.group for item in items])
    else:
        groups = _numbers([key(item.text) for item in items])
    if len(items) > 1 and groups.max(initial=0) == 0:
        what = f"belong to the group {items[0].group!r}" if rows.grouped else "have the same text"
        raise DataError(
            "split",
            f"all {len(items):,} items {what}, so that no part can be held out.",
            do="Name another group column, or leave group out."
            if rows.grouped
            else "Does text: name the right column?",
        )
    labels = np.array([item.label for item in items], dtype=np.int64)
    part_N = allot(labels, groups, shares, random)
    return [[items[i] for i in np.flatnonzero(part_N == part)] for part in range(len(shares))]


def same_text(train: Sequence[str], held: Sequence[str], key: Key) -> Overlap:
    """Train texts that equal a held-out text when both are normalised."""
    train_keys = [key(text) for text in train]
    held_keys = [key(text) for text in held]
    place = {name: index for index, name in enumerate(train_keys)}
    given_by = np.array([place.get(name, -1) for name in held_keys], dtype=np.int64)
    wanted = set(held_keys)
    gives = np.array([name in wanted for name in train_keys], dtype=bool)
    return Overlap(gives, given_by, np.zeros(len(held), dtype=bool))


def _texts(items: Sequence[Example]) -> list[str]:
    return [item.text for item in items]


def _make_safe(
    parts: dict[str, list[Example]],
    ours: set[str],
    grouped: bool,
    rule: OverlapRule | None,
    key: Key,
    dropped: Counter[str],
) -> None:
    """Take out what gives a held-out item away, and count it.

    Where the task's items are pieces of each other, a piece that stands in a train text as well
    ("the film") is dropped from a held-out part that we cut ourselves: it is no test of anything,
    and it would cost every train text around it. An official part is never touched.
    """

    def leave_out(name: str, drop: NDArray[np.bool_], reason: str) -> None:
        if drop.any():
            dropped[f"{name}: {reason}"] += int(drop.sum())
            parts[name] = [item for item, gone in zip(parts[name], drop, strict=True) if not gone]

    for name, learnt in (("test", ("train", "dev")), ("dev", ("train",))):
        if name in ours and rule is not None:
            seen = [item.text for other in learnt for item in parts[other]]
            pieces = rule(seen, _texts(parts[name])).piece_H
            leave_out(name, pieces, "stands inside a training text")
    for name, held in (("dev", "test"), ("train", "test"), ("train", "dev")):
        if grouped:
            theirs = {item.group for item in parts[held]}
            same = np.array([item.group in theirs for item in parts[name]], dtype=bool)
            leave_out(name, same, f"same group as a {held} item")
        twins = same_text(_texts(parts[name]), _texts(parts[held]), key).gives_T
        leave_out(name, twins, f"same text as a {held} item")
        if rule is not None:
            gives = rule(_texts(parts[name]), _texts(parts[held])).gives_T
            leave_out(name, gives, f"overlaps a {held} item")


def _refuse_poor(
    parts: Mapping[str, Sequence[Example]], labels: Sequence[str], settings: SplitSettings
) -> None:
    total = sum(len(items) for items in parts.values())
    for name in PARTS:
        if not parts[name]:
            raise DataError(
                "split",
                f"{name} would be empty (train {len(parts['train']):,}, dev {len(parts['dev']):,}, "
                f"test {len(parts['test']):,} items).",
                do="Change split.shares or split.dev_share, or bring more items or smaller groups.",
            )
        counts = Counter(item.label for item in parts[name])
        missing = [label for index, label in enumerate(labels) if not counts[index]]
        if missing:
            raise DataError(
                "split",
                f"{name} would hold no item of the label {missing[0]!r} ({len(parts[name]):,} of "
                f"{total:,} items are in {name}).",
                do="Bring more items of that label, give the part a larger share, or take the label out.",
            )


def _balanced(items: Sequence[Example], labels: int, seed: int) -> list[Example]:
    """The items with a seeded part of each larger class left out, in their order."""
    label_N = np.array([item.label for item in items])
    least = int(np.bincount(label_N, minlength=labels).min())
    random = np.random.default_rng([seed, 3])
    kept = np.zeros(len(items), dtype=bool)
    for label in range(labels):
        kept[random.permutation(np.flatnonzero(label_N == label))[:least]] = True
    return [item for item, keep in zip(items, kept, strict=True) if keep]


def _sized(
    items: Sequence[Example], name: str, labels: Sequence[str], settings: SplitSettings
) -> list[Example]:
    """The part in its seeded order, cut to its size; a smaller size is a prefix of a larger one."""
    size = getattr(settings, f"{name}_size")
    if size is not None and size < len(labels):
        raise RecipeError(
            f"split.{name}_size",
            f"{size} is less than the number of labels, {len(labels)}.",
            do="Each label needs an item.",
        )
    random = np.random.default_rng([settings.seed, 2, PARTS.index(name)])
    order = stratified_order(np.array([item.label for item in items], dtype=np.int64), random)
    return [items[index] for index in order[:size]]


def sample_places(train: Sequence[Example], size: int, seed: int) -> NDArray[np.int64]:
    """Places of `size` train items in a seeded order that is stratified by label at every prefix."""
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


def _overlap(
    train: Sequence[Example], test: Sequence[Example], rule: OverlapRule | None, key: Key
) -> dict[str, Any]:
    given = same_text(_texts(train), _texts(test), key).given_by_H
    if rule is not None:
        given = np.where(given >= 0, given, rule(_texts(train), _texts(test)).given_by_H)
    examples = [
        {
            "test_id": test[index].id,
            "test": test[index].text[:300],
            "train_id": train[given[index]].id,
            "train": train[given[index]].text[:300],
        }
        for index in np.flatnonzero(given >= 0)[:10]
    ]
    count = int((given >= 0).sum())
    return {"items": count, "share": count / len(test), "examples": examples}


def _is_sorted(items: Sequence[Example]) -> bool:
    labels = np.array([item.label for item in items])
    classes = len(np.unique(labels))
    return classes > 1 and len(labels) > 10 * classes and int((np.diff(labels) != 0).sum()) < classes


def _report(
    task: Task,
    rows: Rows,
    parts: Mapping[str, list[Example]],
    settings: SplitSettings,
    kind: str,
    dropped: Mapping[str, int],
    key: Key,
) -> dict[str, Any]:
    labels = {
        name: {
            label: sum(item.label == index for item in parts[name]) for index, label in enumerate(rows.labels)
        }
        for name in PARTS
    }
    return {
        "kind": kind,
        "shares": list(settings.shares) if kind == "shares" else None,
        "leak_safe": settings.leak_safe,
        "grouped": rows.grouped,
        "seed": settings.seed,
        "sizes": {name: len(parts[name]) for name in PARTS},
        "labels": labels,
        "groups": {name: len({item.group for item in parts[name]}) for name in PARTS},
        "dropped": dict(sorted(dropped.items())),
        "overlap": _overlap(parts["train"], parts["test"], task.overlaps, key),
        "sorted_by_label": [name for name, items in rows.parts.items() if _is_sorted(items)],
        "source": dict(rows.source),
        "fingerprints": {name: fingerprint(parts[name], rows.labels) for name in PARTS},
        "ids": {name: [item.id for item in parts[name]] for name in PARTS},
    }
