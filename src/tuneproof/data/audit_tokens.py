"""What is wrong or risky in the encoding: truncation, supervision, BOS, label words, shots.

In: token counts as plain arrays; shots. Out: findings, each with its numbers.
Knows nothing of: tokenizers, models, files.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tuneproof.data.findings import SHOWN, Finding, plural, stopper
from tuneproof.tasks.normalise import normalised
from tuneproof.tasks.task import Example

MOST_TRUNCATED = 0.05


def audit_encoding(
    lengths: ArrayLike,
    truncated: ArrayLike,
    supervised_counts: ArrayLike | None,
    bos_counts: ArrayLike | None,
    label_word_tokens: Mapping[str, Sequence[int]] | None,
    max_length: int,
    ids: Sequence[str] = (),
    expected_bos: int = 1,
) -> list[Finding]:
    """What the tokens tell, on plain arrays of N items.

    `lengths` are tokens before truncation, `truncated` booleans; `supervised_counts` the tokens that
    the loss sees, `bos_counts` the begin-of-text tokens, both None where they mean nothing;
    `label_word_tokens` the ids of each label's words as they follow the prompt; `ids` name the items.
    """
    lengths_N = np.asarray(lengths, dtype=np.int64)
    findings = []

    def named(places: np.ndarray) -> list[dict[str, Any]]:
        return [{"id": ids[i] if len(ids) else str(i)} for i in places[:SHOWN]]

    def listed(places: np.ndarray) -> str:
        return ", ".join(one["id"] for one in named(places)) + (", …" if len(places) > SHOWN else "")

    cut = np.flatnonzero(np.asarray(truncated, dtype=bool))
    if len(cut):
        share = len(cut) / len(lengths_N)
        message = (
            f"{share:.1%} of the items ({len(cut):,} of {len(lengths_N):,}) are longer than "
            f"encode.max_length {max_length:,} and are cut; the longest has {lengths_N.max():,} tokens."
        )
        level: Literal["note", "warning"] = "warning" if share > MOST_TRUNCATED else "note"
        findings.append(Finding("truncated", level, message, len(cut), named(cut)))
    if supervised_counts is not None:
        silent = np.flatnonzero(np.asarray(supervised_counts) == 0)
        if len(silent):
            message = (
                f"{plural(len(silent), 'item has', 'items have')} no token that the loss sees "
                f"({listed(silent)}): nothing would be learnt from them."
            )
            findings.append(stopper("no_supervised_tokens", message, len(silent), named(silent)))
    if bos_counts is not None:
        counts = np.asarray(bos_counts)
        wrong = np.flatnonzero(counts != expected_bos)
        if len(wrong):
            message = (
                f"{plural(len(wrong), 'item holds', 'items hold')} {counts[wrong[0]]} begin-of-text "
                f"tokens where the model expects {expected_bos} ({listed(wrong)})."
            )
            findings.append(stopper("bos_count", message, len(wrong), named(wrong)))
    return findings + _label_words(label_word_tokens or {})


def _label_words(tokens: Mapping[str, Sequence[int]]) -> list[Finding]:
    findings = []
    by_tokens: dict[tuple[int, ...], list[str]] = defaultdict(list)
    by_first: dict[int, list[str]] = defaultdict(list)
    for label, ids in tokens.items():
        by_tokens[tuple(ids)].append(label)
        if ids:
            by_first[ids[0]].append(label)
    example = [{label: list(ids)} for label, ids in tokens.items()][:SHOWN]
    alike = [labels for ids, labels in by_tokens.items() if len(labels) > 1 or not ids]
    if alike:
        message = f"The label words of {' and '.join(alike[0])} are the same tokens, or none at all."
        findings.append(stopper("label_words_alike", message, len(alike), example))
    shared = [labels for labels in by_first.values() if len(labels) > 1]
    if shared and not alike:
        message = (
            f"The label words of {' and '.join(shared[0])} begin with the same token: an answer of "
            "one token cannot tell them apart."
        )
        findings.append(Finding("label_words_share_start", "warning", message, len(shared), example))
    sizes = {label: len(ids) for label, ids in tokens.items()}
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{label} {size}" for label, size in list(sizes.items())[:SHOWN])
        message = f"The label words have different numbers of tokens ({said}); their scores are summed."
        findings.append(Finding("label_words_length", "note", message, len(sizes), example))
    return findings


def audit_shots(shots: Sequence[Example], items: Sequence[Example]) -> list[Finding]:
    """Shots that are an item which they are shown with: by id, or by the normalised text."""
    ids = {shot.id for shot in shots}
    texts = {normalised(shot.text) for shot in shots}
    found = [item for item in items if item.id in ids or normalised(item.text) in texts]
    if not found:
        return []
    message = (
        f"There are shots that contain the item: {plural(len(found), 'item is', 'items are')} "
        f"among the {len(shots):,} shots ({', '.join(item.id for item in found[:SHOWN])})."
    )
    examples = [{"id": item.id, "text": item.text[:200]} for item in found[:SHOWN]]
    return [stopper("shots_contain_item", message, len(found), examples)]
