"""The audit of an encoding: what the tokens of a model's texts and prompts tell before it loads.

In: what all arms share, a ready model, an arm. Out: findings.
Knows nothing of: weights, training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tuneproof.context.few_shot import shots_of
from tuneproof.context.model_spec import Ready
from tuneproof.context.study_data import Shared
from tuneproof.data.audit import Finding, audit_encoding, audit_shots
from tuneproof.data.encode import encode_cloze, encode_prompts
from tuneproof.data.splits import PARTS
from tuneproof.data.tokens import begin_tokens
from tuneproof.errors import RecipeError
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.task import Example

PROMPTED_ITEMS = 64  # prompts put together for the audit; their words are the same in all


def audit_texts(shared: Shared, ready: Ready, looked_at: int | None) -> list[Finding]:
    """Lengths, what is cut, begin tokens and special strings, over train, dev and test."""
    lengths, truncated, begins, ids, special = [], [], [], [], 0
    for part in PARTS:
        examples = shared.splits.part(part)[:looked_at]
        name = part if looked_at is None else f"first {looked_at} of {part}"
        encoded = ready.encode(name, examples, shared.recipe.encode)
        lengths.append(encoded.whole_N)
        truncated.append(encoded.truncated_N)
        begins += [begin_count(row, ready) for row in encoded.ids]
        ids += [example.id for example in examples]
        special += encoded.counts["special_text"]
    found = audit_encoding(
        np.concatenate(lengths),
        np.concatenate(truncated),
        None,
        begins if ready.tokenizer.bos_token_id is not None else None,
        None,
        ready.max_length,
        ids,
        begin_tokens(ready.tokenizer, ready.family),
    )
    if special:
        message = f"{special:,} texts hold the string of a special token; it is read as plain text."
        found.append(Finding("special_text", "note", message, special))
    return [_of(finding, ready) for finding in found]


def begin_count(ids: Iterable[int], ready: Ready) -> int:
    """Begin tokens at the head of an item."""
    count = 0
    for token in ids:
        if token != ready.tokenizer.bos_token_id:
            break
        count += 1
    return count


def why_no_cloze(shared: Shared, arm: Arm, ready: Ready) -> str | None:
    """Why an encoder cannot be asked by this task's cloze (a word of several tokens); None: it can."""
    if arm.method.kind != "prompt" or ready.family.kind != "encoder":
        return None
    try:
        encode_cloze(
            ready.tokenizer,
            ready.family,
            shared.prompt,
            shared.splits.test[:1],
            ready.max_length,
            shared.recipe.encode.truncate,
        )
    except RecipeError as error:
        return str(error)
    return None


def audit_prompt(shared: Shared, arm: Arm, ready: Ready, seed: int) -> list[Finding]:
    """The arm's prompt around some test items: label words, begin tokens, supervised tokens, shots.

    Raises: RecipeError where the prompt does not fit, or labels cannot be told apart.
    """
    shots = shots_of(shared, arm, seed)
    items = shared.splits.test[:PROMPTED_ITEMS]
    found = audit_shots(shots, [*shared.splits.dev, *shared.splits.test])
    if ready.family.kind == "encoder":
        encode_cloze(
            ready.tokenizer,
            ready.family,
            shared.prompt,
            items,
            ready.max_length,
            shared.recipe.encode.truncate,
        )
        return found
    asked = encode_prompts(
        ready.tokenizer,
        ready.family,
        shared.prompt,
        items,
        shots,
        ready.max_length,
        shared.recipe.encode.truncate,
        shared.recipe.encode.chat,
    )
    ways = dict(zip(shared.labels, asked.continuations[0], strict=True))
    has_begin = ready.tokenizer.bos_token_id is not None
    found += audit_encoding(
        asked.tokens_N,
        asked.truncated_N,
        _supervised(asked.continuations, items),
        [begin_count(row, ready) for row in asked.prompts] if has_begin else None,
        {label: [int(token) for token in way] for label, way in ways.items()},
        ready.max_length,
        [example.id for example in items],
        begin_tokens(ready.tokenizer, ready.family),
    )
    return [_of(finding, ready) for finding in found]


def _supervised(continuations: Sequence[Any], items: Sequence[Example]) -> list[int]:
    return [len(ways[item.label]) for ways, item in zip(continuations, items, strict=True)]


def _of(finding: Finding, ready: Ready) -> Finding:
    return replace(finding, message=f"{ready.name}: {finding.message}")
