"""Texts that a model cannot read: its tokenizer makes no tokens of them, or unknown ones.

In: counts of tokens as plain arrays. Out: findings, each with its numbers.
Knows nothing of: tokenizers, models, files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tuneproof.data.findings import MAX_EXAMPLES, Finding, blocking_finding, plural

MOSTLY_UNKNOWN = 0.8  # of an item's tokens: from here on the model cannot read it
MAX_UNREADABLE_SHARE = 0.05
STOPS_AT_SHARE = 0.9
MAX_UNKNOWN_SHARE = 0.01  # of all tokens


def audit_unreadable(
    text_tokens: ArrayLike, unknown: ArrayLike, ids: Sequence[str], blank: ArrayLike
) -> list[Finding]:
    """What N items' own tokens reveal: none at all, or unknown ones.

    `blank` marks items whose text is empty, which other findings name.
    """
    tokens_N, unknown_N = np.asarray(text_tokens), np.asarray(unknown)
    empty = np.flatnonzero((tokens_N == 0) & ~np.asarray(blank, dtype=bool))
    findings = []
    if len(empty):
        message = (
            f"{plural(len(empty), 'text gives', 'texts give')} no token ({_listed(empty, ids)}): the model "
            "would read nothing of it. Its tokenizer does not know the characters."
        )
        findings.append(blocking_finding("no_tokens", message, len(empty), _examples(empty, ids)))
    if unknown_N.any():
        findings += _unknown(tokens_N, unknown_N, ids)
    return findings


def _unknown(tokens_N: np.ndarray, unknown_N: np.ndarray, ids: Sequence[str]) -> list[Finding]:
    total, all_unknown = int(tokens_N.sum()), int(unknown_N.sum())
    unreadable = np.flatnonzero((unknown_N > 0) & (unknown_N >= MOSTLY_UNKNOWN * tokens_N))
    share = len(unreadable) / len(tokens_N)
    name, examples = "unknown_tokens", _examples(unreadable, ids)
    message = f"{all_unknown / total:.1%} of the texts' tokens are unknown to the model"
    if len(unreadable):
        message += (
            f"; {len(unreadable):,} of {len(tokens_N):,} texts ({_listed(unreadable, ids)}) are nearly all "
            "unknown, and look alike to it"
        )
    if share >= STOPS_AT_SHARE:
        message += ". It cannot read this script or language; use a model that was trained on it."
        return [blocking_finding(name, message, len(unreadable), examples)]
    if share > MAX_UNREADABLE_SHARE:
        return [Finding(name, "warning", f"{message}.", len(unreadable), examples)]
    if len(unreadable) or all_unknown > MAX_UNKNOWN_SHARE * total:
        return [Finding(name, "note", f"{message}.", len(unreadable), examples)]
    return []


def _examples(indices: np.ndarray, ids: Sequence[str]) -> list[dict[str, Any]]:
    return [{"id": ids[index]} for index in indices[:MAX_EXAMPLES]]


def _listed(indices: np.ndarray, ids: Sequence[str]) -> str:
    return ", ".join(ids[i] for i in indices[:MAX_EXAMPLES]) + (", …" if len(indices) > MAX_EXAMPLES else "")
