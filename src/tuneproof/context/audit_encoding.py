"""The audit of an encoding: findings from the tokens of a model's texts and prompts, before it loads.

In: study data, a model spec, an arm. Out: findings. Knows nothing of: weights, training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tuneproof.context.few_shot import shots_of
from tuneproof.context.model_spec import ModelSpec
from tuneproof.context.prompt_encoding import encode_label_cloze, encode_label_prompts
from tuneproof.context.study_data import StudyData
from tuneproof.data.audit import Finding, audit_encoding, audit_shots
from tuneproof.data.splits import PARTS
from tuneproof.data.tokens import count_bos_tokens
from tuneproof.errors import RecipeError
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.task import Example

AUDITED_PROMPTS = 64  # their words are the same in all


def audit_texts(study: StudyData, spec: ModelSpec, audited_items: int | None) -> list[Finding]:
    """Lengths, truncation, begin tokens and special strings of train, dev and test.

    audited_items: of each part; None: all.
    """
    lengths, truncated, begins, ids, special = [], [], [], [], 0
    for part in PARTS:
        examples = study.splits.part(part)[:audited_items]
        name = part if audited_items is None else f"first {audited_items} of {part}"
        encoded = spec.encode(name, examples, study.recipe.encode)
        lengths.append(encoded.untruncated_N)
        truncated.append(encoded.truncated_N)
        begins += [leading_bos_tokens(row, spec) for row in encoded.ids]
        ids += [example.id for example in examples]
        special += encoded.counts["special_text"]
    findings = audit_encoding(
        np.concatenate(lengths),
        np.concatenate(truncated),
        None,
        begins if spec.tokenizer.bos_token_id is not None else None,
        None,
        spec.max_length,
        ids,
        count_bos_tokens(spec.tokenizer, spec.family),
    )
    if special:
        message = f"{special:,} texts contain the string of a special token; it is read as plain text."
        findings.append(Finding("special_text", "note", message, special))
    return [_of_model(finding, spec) for finding in findings]


def leading_bos_tokens(ids: Iterable[int], spec: ModelSpec) -> int:
    """Begin-of-text tokens at the start of an item."""
    count = 0
    for token in ids:
        if token != spec.tokenizer.bos_token_id:
            break
        count += 1
    return count


def why_no_cloze(study: StudyData, arm: Arm, spec: ModelSpec) -> str | None:
    """Why an encoder cannot fill this task's cloze (a word of several tokens); None: it can."""
    if arm.method.kind != "prompt" or spec.family.kind != "encoder":
        return None
    try:
        encode_label_cloze(study, spec, study.splits.test[:1])
    except RecipeError as error:
        return str(error)
    return None


def audit_prompt(study: StudyData, arm: Arm, spec: ModelSpec, seed: int) -> list[Finding]:
    """The arm's prompt around some test items: label words, begin tokens, supervised tokens, shots.

    Raises: RecipeError where the prompt does not fit, or labels cannot be told apart.
    """
    shots = shots_of(study, arm, seed)
    items = study.splits.test[:AUDITED_PROMPTS]
    findings = audit_shots(shots, [*study.splits.dev, *study.splits.test])
    if spec.family.kind == "encoder":
        encode_label_cloze(study, spec, items)
        return findings
    prompts = encode_label_prompts(study, spec, items, shots)
    words = dict(zip(study.labels, prompts.continuations[0], strict=True))
    has_bos = spec.tokenizer.bos_token_id is not None
    findings += audit_encoding(
        prompts.tokens_N,
        prompts.truncated_N,
        _supervised_tokens(prompts.continuations, items),
        [leading_bos_tokens(row, spec) for row in prompts.prompt_ids] if has_bos else None,
        {label: [int(token) for token in tokens] for label, tokens in words.items()},
        spec.max_length,
        [example.id for example in items],
        count_bos_tokens(spec.tokenizer, spec.family),
    )
    return [_of_model(finding, spec) for finding in findings]


def _supervised_tokens(continuations: Sequence[Any], items: Sequence[Example]) -> list[int]:
    pairs = zip(continuations, items, strict=True)
    return [len(label_words[item.label]) for label_words, item in pairs]


def _of_model(finding: Finding, spec: ModelSpec) -> Finding:
    return replace(finding, message=f"{spec.name}: {finding.message}")
