"""The audit of an encoding: findings from the tokens of a model's texts and prompts, before it loads.

In: study data, a model spec, an arm. Out: findings. Knows nothing of: weights, training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Literal

import numpy as np

from tuneproof.context.few_shot import shots_of
from tuneproof.context.model_spec import ModelSpec
from tuneproof.context.prompt_encoding import encode_label_cloze, encode_label_prompts
from tuneproof.context.study_data import StudyData
from tuneproof.data.audit import Finding, audit_encoding, audit_shots
from tuneproof.data.audit_tokens import audit_word_meanings
from tuneproof.data.audit_unreadable import audit_unreadable
from tuneproof.data.encode import EncodedTexts
from tuneproof.data.prompt_format import build_prompt_frame
from tuneproof.data.splits import PARTS
from tuneproof.data.tokens import count_bos_tokens
from tuneproof.errors import RecipeError
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.task import Example

AUDITED_PROMPTS = 64  # their words are the same in all


def audit_texts(study: StudyData, spec: ModelSpec, audited_items: int | None) -> list[Finding]:
    """Unreadable texts, lengths, truncation, begin tokens and special strings of train, dev and test.

    audited_items: of each part; None: all.
    """
    items, parts = _encode_parts(study, spec, audited_items)
    findings = audit_encoding(
        np.concatenate([part.untruncated_N for part in parts]),
        np.concatenate([part.truncated_N for part in parts]),
        None,
        [leading_bos_tokens(row, spec) for part in parts for row in part.ids] if _has_bos(spec) else None,
        None,
        spec.max_length,
        [item.id for item in items],
        count_bos_tokens(spec.tokenizer, spec.family),
    )
    special = sum(part.counts["special_text"] for part in parts)
    if special:
        message = f"{special:,} texts contain the string of a special token; it is read as plain text."
        findings.append(Finding("special_text", "note", message, special))
    return audit_readable(study, spec, audited_items) + [_of_model(finding, spec) for finding in findings]


def audit_readable(study: StudyData, spec: ModelSpec, audited_items: int | None) -> list[Finding]:
    """Texts of which the model reads nothing, or unknown tokens alone."""
    items, parts = _encode_parts(study, spec, audited_items)
    ids, blank = list[str](), list[bool]()
    for item in items:
        ids.append(item.id)
        blank.append(not item.text.strip())
    findings = audit_unreadable(
        np.concatenate([part.text_tokens_N for part in parts]),
        np.concatenate([part.unknown_N for part in parts]),
        ids,
        blank,
    )
    return [_of_model(finding, spec) for finding in findings]


def audit_further_texts(study: StudyData, spec: ModelSpec, audited_items: int | None) -> list[Finding]:
    """Texts of further test sets that the model reads nothing of, or cuts."""
    findings = []
    for further in study.tests if study.kind == "labels" else ():
        name, items = f"tests-{further.name}", further.items[:audited_items]
        encoded = spec.encode(
            name if audited_items is None else f"first of {name}", items, study.recipe.encode
        )
        for kind, problem, rows_N in (
            ("no_tokens", f"give {spec.name} no token", encoded.text_tokens_N == 0),
            ("truncated", f"are cut for {spec.name}", encoded.truncated_N),
        ):
            if count := int(rows_N.sum()):
                message = f"{count:,} of {len(items):,} texts of {further.name} {problem}."
                level: Literal["note", "warning"] = "warning" if kind == "no_tokens" else "note"
                findings.append(Finding(f"{kind}_{further.name}", level, message, count))
    return findings


def _encode_parts(
    study: StudyData, spec: ModelSpec, audited_items: int | None
) -> tuple[Iterable[Example], list[EncodedTexts]]:
    items, parts = list[Sequence[Example]](), []
    for part in PARTS:
        items.append(study.splits.part(part)[:audited_items])
        name = part if audited_items is None else f"first {audited_items} of {part}"
        parts.append(spec.encode(name, items[-1], study.recipe.encode))
    return chain(*items), parts


def _has_bos(spec: ModelSpec) -> bool:
    return spec.tokenizer.bos_token_id is not None


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
    findings = audit_shots(shots, chain(study.splits.dev, study.splits.test))
    findings += _audit_words(study, arm)
    if spec.family.kind == "encoder":
        encode_label_cloze(study, spec, items)
        return findings
    prompts = encode_label_prompts(study, spec, items, shots)
    words = dict(zip(study.labels, prompts.continuations[0], strict=True))
    findings += audit_encoding(
        prompts.untruncated_N,
        prompts.truncated_N,
        _supervised_tokens(prompts.continuations, items),
        [leading_bos_tokens(row, spec) for row in prompts.prompt_ids] if _has_bos(spec) else None,
        {label: [int(token) for token in tokens] for label, tokens in words.items()},
        spec.max_length,
        [example.id for example in items],
        count_bos_tokens(spec.tokenizer, spec.family),
    )
    frame = build_prompt_frame(spec.tokenizer, study.prompt, shots, study.recipe.encode.chat)
    findings += [Finding("chat_template", "note", note, 1) for note in frame.notes]
    return [_of_model(finding, spec) for finding in findings]


def _audit_words(study: StudyData, arm: Arm) -> list[Finding]:
    """Whether the words mean something; an instruction of the user's may explain them."""
    is_explained = getattr(study.recipe.task_options, "instruction", None) is not None
    return audit_word_meanings(study.prompt.words) if arm.method.kind == "prompt" and not is_explained else []


def _supervised_tokens(continuations: Sequence[Any], items: Sequence[Example]) -> list[int]:
    pairs = zip(continuations, items, strict=True)
    return [len(label_words[item.label]) for label_words, item in pairs]


def _of_model(finding: Finding, spec: ModelSpec) -> Finding:
    return replace(finding, message=f"{spec.name}: {finding.message}")
