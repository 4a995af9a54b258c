"""Test items that look like a training item: their number, examples, and the finding.

In: the parts of a split. Out: values for splits.json, and the finding that reads them.
Knows nothing of: how similarity is searched, tokenizers, reports.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuneproof.data.findings import MAX_EXAMPLES, Finding, plural
from tuneproof.data.groups import comparable_text
from tuneproof.data.lookalikes import CONTAINMENT, JACCARD, MIN_CONTAINED, find_lookalikes
from tuneproof.tasks.task import Example

MAX_LOOKALIKE_SHARE = 0.05  # of test; above, the headline says it


def measure_lookalikes(train: Sequence[Example], test: Sequence[Example]) -> dict[str, Any]:
    """The test items with a lookalike in train: items, share, by_jaccard, by_containment, ids, examples."""
    lookalikes = find_lookalikes(
        [comparable_text(item) for item in train], [comparable_text(item) for item in test]
    )
    index_H, held = lookalikes.index_H.tolist(), np.flatnonzero(lookalikes.is_alike_H).tolist()
    examples = [
        {
            "test_id": test[index].id,
            "test": comparable_text(test[index])[:300],
            "train_id": train[index_H[index]].id,
            "train": comparable_text(train[index_H[index]])[:300],
        }
        for index in held[:MAX_EXAMPLES]
    ]
    return {
        "items": len(held),
        "share": len(held) / max(1, len(test)),
        "by_jaccard": int((lookalikes.jaccard_index_H >= 0).sum()),
        "by_containment": int((lookalikes.containment_index_H >= 0).sum()),
        "ids": [test[index].id for index in held],
        "examples": examples,
    }


def audit_lookalikes(report: Mapping[str, Any]) -> list[Finding]:
    """The finding about the lookalikes in a split's report; none if there are none."""
    measured = report.get("lookalikes") or {}
    if not measured.get("items"):
        return []
    has = plural(measured["items"], "test item has", "test items have")
    message = (
        f"{has} a lookalike in train, {measured['share']:.1%}: {measured['by_jaccard']:,} by the Jaccard "
        f"similarity of their words ({JACCARD} or more), {measured['by_containment']:,} because one text "
        f"contains {CONTAINMENT:.0%} of the other's words (at least {MIN_CONTAINED})."
    )
    if measured["share"] <= MAX_LOOKALIKE_SHARE:
        return [Finding("lookalikes", "note", message, measured["items"], measured["examples"])]
    message += (
        " Scores on them do not show performance on new text. Read the scores on the other items, set "
        "split.group_by: similarity, or name a group column so that texts of one origin (a template, a "
        "thread, a document) stay in one part."
    )
    return [Finding("lookalikes", "warning", message, measured["items"], measured["examples"])]


def audit_merged_groups(report: Mapping[str, Any]) -> list[Finding]:
    """The finding about groups whose names differ in case, width or spaces only."""
    merged = report.get("merged_groups") or []
    if not merged:
        return []
    message = (
        f"{plural(len(merged), 'group name is', 'group names are')} another one in other case, width or "
        "spaces; each is one group with it."
    )
    return [Finding("merged_groups", "note", message, len(merged), merged[:MAX_EXAMPLES])]
