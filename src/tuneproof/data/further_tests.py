"""Further test sets: their items as the arms see them, and what of them is in train or test already.

In: rows of a further test file, the splits. Out: the set with its report for splits.json; findings.
Knows nothing of: models, files, scores. Splits stay as they are: nothing is removed from train.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tuneproof.data.audit_lookalikes import measure_lookalikes
from tuneproof.data.findings import MAX_EXAMPLES, Finding, plural
from tuneproof.data.groups import join_groups
from tuneproof.data.splits import Splits, find_same_texts, fingerprint, measure_overlap
from tuneproof.tasks.further_test import FurtherRows
from tuneproof.tasks.normalise import normalise_text
from tuneproof.tasks.task import Example, Task

MAX_LEAK_SHARE = 0.01


@dataclass(frozen=True)
class FurtherSet:
    """The items of a further test file, in the file's order.

    `report`: size, labels {label: items}, clusters, clustered, dropped, overlap and lookalikes (of train),
    in_test (items with the text of a main test item), fingerprint, source.
    """

    name: str
    items: list[Example]
    report: dict[str, Any]


def make_further_set(name: str, task: Task, rows: FurtherRows, splits: Splits) -> FurtherSet:
    """The set; items that share a group or a text count as one in intervals."""
    items = join_groups(rows.items, [normalise_text(item.text) for item in rows.items])
    texts, test_texts = [item.text for item in items], [item.text for item in splits.test]
    clusters = len({item.group for item in items})
    lookalikes = measure_lookalikes(splits.train, items)
    report = {
        "size": len(items),
        "labels": {
            label: sum(item.label == index for item in items) for index, label in enumerate(splits.labels)
        },
        "clusters": clusters,
        "clustered": clusters < len(items),
        "dropped": dict(rows.dropped),
        "overlap": measure_overlap(splits.train, items, task.overlaps, normalise_text),
        "lookalikes": {key: lookalikes[key] for key in ("items", "share", "examples")},
        "in_test": int((find_same_texts(test_texts, texts, normalise_text).leaked_by_H >= 0).sum()),
        "fingerprint": fingerprint(items, splits.labels),
        "source": dict(rows.about),
    }
    return FurtherSet(name, items, report)


def audit_further_set(further: FurtherSet) -> list[Finding]:
    """What of the set is in train or in test, nearly so, or was left out."""
    name, report, size = further.name, further.report, len(further.items)
    findings = []

    def add(kind: str, count: int, sentence: str, examples: Sequence[Any] = ()) -> None:
        level: Literal["note", "warning"] = "warning" if count / size > MAX_LEAK_SHARE else "note"
        if count:
            examples = list(examples)[:MAX_EXAMPLES]
            findings.append(Finding(f"{kind}_{name}", level, sentence, count, examples))

    overlap, alike, twice = report["overlap"], report["lookalikes"], report["in_test"]
    share = f"{overlap['items']:,} of {size:,} items of {name}, {overlap['share']:.1%}"
    add(
        "leak",
        overlap["items"],
        f"Train overlaps with {share}: there it is not new text.",
        overlap["examples"],
    )
    alike_share = f"{alike['items']:,} of {size:,} items of {name} have a lookalike in train"
    add("lookalikes", alike["items"], f"{alike_share}, {alike['share']:.1%}.", alike["examples"])
    subject = plural(twice, f"item of {name} is", f"items of {name} are")
    add(
        "in_test", twice, f"{subject} also in the main test set; a drop's interval takes both as independent."
    )
    missing = [label for label, count in report["labels"].items() if not count]
    if missing:
        message = f"{name} has no item of {', '.join(missing)}: scores there are of its other labels alone."
        findings.append(Finding(f"labels_{name}", "note", message, len(missing)))
    if report["dropped"]:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in report["dropped"].items())
        total = sum(report["dropped"].values())
        message = f"{plural(total, 'row', 'rows')} of {name} were left out ({reasons})."
        findings.append(Finding(f"left_out_{name}", "note", message, total))
    return findings
