"""Problems and risks in the encoding: truncation, supervision, BOS tokens, label words, shots.

In: token counts as plain arrays; shots. Out: findings, each with its numbers.
Knows nothing of: tokenizers, models, files.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tuneproof.data.findings import MAX_EXAMPLES, Finding, blocking_finding, plural
from tuneproof.tasks.normalise import normalise_text
from tuneproof.tasks.task import Example

MAX_TRUNCATED_SHARE = 0.05
_CLASS_NUMBER = re.compile(r"(label|class|category|[a-z])?[ _-]?[+-]?\d+(\.\d+)?", re.IGNORECASE)


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
    """What plain arrays of N items reveal about their tokens.

    `lengths` are tokens before truncation, `truncated` booleans; `supervised_counts` the tokens that
    the loss counts, `bos_counts` the BOS tokens, both None if they do not apply; `label_word_tokens`
    the ids of each label's words as they follow the prompt; `ids` name the items.
    """
    lengths_N = np.asarray(lengths, dtype=np.int64)
    findings = []

    def examples(indices: np.ndarray) -> list[dict[str, Any]]:
        return [{"id": ids[i] if len(ids) else str(i)} for i in indices[:MAX_EXAMPLES]]

    def list_ids(indices: np.ndarray) -> str:
        first = ", ".join(example["id"] for example in examples(indices))
        return first + (", …" if len(indices) > MAX_EXAMPLES else "")

    cut = np.flatnonzero(np.asarray(truncated, dtype=bool))
    if len(cut):
        share = len(cut) / len(lengths_N)
        message = (
            f"{share:.1%} of the items ({len(cut):,} of {len(lengths_N):,}) are longer than "
            f"encode.max_length {max_length:,} and are truncated; the longest has {lengths_N.max():,} tokens."
        )
        level: Literal["note", "warning"] = "warning" if share > MAX_TRUNCATED_SHARE else "note"
        findings.append(Finding("truncated", level, message, len(cut), examples(cut)))
    if supervised_counts is not None:
        silent = np.flatnonzero(np.asarray(supervised_counts) == 0)
        if len(silent):
            message = (
                f"{plural(len(silent), 'item has', 'items have')} no token that the loss counts "
                f"({list_ids(silent)}): nothing would be learnt from them."
            )
            findings.append(blocking_finding("no_supervised_tokens", message, len(silent), examples(silent)))
    if bos_counts is not None:
        counts = np.asarray(bos_counts)
        wrong = np.flatnonzero(counts != expected_bos)
        if len(wrong):
            message = (
                f"{plural(len(wrong), 'item has', 'items have')} {counts[wrong[0]]} BOS tokens; the model "
                f"expects {expected_bos} ({list_ids(wrong)})."
            )
            findings.append(blocking_finding("bos_count", message, len(wrong), examples(wrong)))
    return findings + _label_words(label_word_tokens or {})


def _label_words(tokens: Mapping[str, Sequence[int]]) -> list[Finding]:
    findings = []
    by_tokens: dict[tuple[int, ...], list[str]] = defaultdict(list)
    by_first: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for label, ids in tokens.items():
        by_tokens[tuple(ids)].append(label)
        by_first[tuple(ids[:1])].append(label)
    example = [{label: list(ids)} for label, ids in tokens.items()][:MAX_EXAMPLES]
    identical = [labels for ids, labels in by_tokens.items() if len(labels) > 1 or not ids]
    if identical:
        message = f"The label words of {' and '.join(identical[0])} are the same tokens, or no tokens at all."
        findings.append(blocking_finding("label_words_alike", message, len(identical), example))
    shared = [labels for labels in by_first.values() if len(labels) > 1]
    if shared and not identical:
        message = (
            f"The label words of {' and '.join(shared[0])} begin with the same token: an answer of "
            "one token cannot distinguish them."
        )
        findings.append(Finding("label_words_share_start", "warning", message, len(shared), example))
    return findings + _label_word_lengths(tokens, example)


def _label_word_lengths(tokens: Mapping[str, Sequence[int]], example: list[dict[str, Any]]) -> list[Finding]:
    sizes = {label: len(ids) for label, ids in tokens.items()}
    if len(set(sizes.values())) < 2:
        return []
    counts = ", ".join(f"{label} {size}" for label, size in list(sizes.items())[:MAX_EXAMPLES])
    message = f"The label words have different numbers of tokens ({counts}); their scores are summed."
    return [Finding("label_words_length", "note", message, len(sizes), example)]


def audit_word_meanings(words: Sequence[str]) -> list[Finding]:
    """A warning if a prompt offers only numbers of classes, whose meaning no model can know."""
    if not all(_CLASS_NUMBER.fullmatch(word) for word in words):
        return []
    offer = ", ".join(words[:MAX_EXAMPLES]) + (", …" if len(words) > MAX_EXAMPLES else "")
    message = (
        f"The labels are numbers: a prompt asks the model to say {offer} and does not say what they mean, so "
        "zero-shot can only guess. Set labels: [...] and words: [...] in the same order, or explain the "
        "numbers with instruction."
    )
    return [Finding("label_numbers", "warning", message, len(words))]


def audit_shots(shots: Sequence[Example], items: Iterable[Example]) -> list[Finding]:
    """Shots that are also items to predict, by id or by normalised text."""
    if not shots:
        return []
    ids = {shot.id for shot in shots}
    texts = {normalise_text(shot.text) for shot in shots}
    leaked = [item for item in items if item.id in ids or normalise_text(item.text) in texts]
    if not leaked:
        return []
    message = (
        f"The shots contain items to predict: {plural(len(leaked), 'item is', 'items are')} among the "
        f"{len(shots):,} shots ({', '.join(item.id for item in leaked[:MAX_EXAMPLES])})."
    )
    examples = [{"id": item.id, "text": item.text[:200]} for item in leaked[:MAX_EXAMPLES]]
    return [blocking_finding("shots_contain_item", message, len(leaked), examples)]
