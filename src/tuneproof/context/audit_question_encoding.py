"""The audit of encoded questions: findings from windows and prompts, before a model loads.

In: study data, a model spec, an arm. Out: findings. Knows nothing of: weights, training.
"""

from dataclasses import replace
from typing import Literal

import numpy as np

from tuneproof.context.few_shot import shots_of
from tuneproof.context.model_spec import ModelSpec
from tuneproof.context.prompt_encoding import question_format
from tuneproof.context.study_data import StudyData
from tuneproof.data.audit import Finding, audit_shots
from tuneproof.data.audit_unreadable import audit_unreadable
from tuneproof.data.findings import MAX_EXAMPLES, blocking_finding, plural
from tuneproof.data.question_prompts import QuestionFormat, encode_questions, gold_answer_text
from tuneproof.data.splits import PARTS
from tuneproof.data.tokens import encode_plain, unknown_id
from tuneproof.data.windows import encode_windows
from tuneproof.methods.options import trains_words
from tuneproof.recipe.recipe import Arm

AUDITED_PROMPTS = 64
AUDITED_ANSWERS = 2000  # of train, and of dev
MAX_OUTSIDE_SHARE = 0.01
MAX_CUT_SHARE = 0.05


def reads_spans(arm: Arm) -> bool:
    """Whether the arm marks its answers in windows; otherwise it writes them."""
    return arm.method.kind == "tuned" and not trains_words(arm.options)


def audit_windows(study: StudyData, spec: ModelSpec, audited_items: int | None) -> list[Finding]:
    """Contexts that need several windows, and answers that no window contains whole.

    Raises: DataError where a question leaves no room for its context.
    """
    settings = study.recipe.encode
    split = outside = items = windows = 0
    examples_outside, unknown = [], unknown_id(spec.tokenizer)
    counts: dict[str, tuple[int, int]] = {}
    for part in PARTS:
        examples = study.splits.part(part)[:audited_items]
        encoded = encode_windows(spec.tokenizer, spec.family, examples, spec.max_length, settings.stride)
        items += len(examples)
        windows += len(encoded.windows)
        split += int(encoded.split_N.sum())
        for example, context in zip(examples, encoded.contexts, strict=True):
            counts[example.required_question.context] = (len(context.ids), context.ids.count(unknown))
        missing = np.flatnonzero(encoded.outside_N).tolist()
        outside += len(missing)
        examples_outside += [{"part": part, "id": examples[i].id} for i in missing]
    findings = _audit_contexts(counts, spec)
    if split:
        message = (
            f"{spec.name}: {split / items:.1%} of the questions ({split:,} of {items:,}) are read in "
            f"several windows of {spec.max_length:,} tokens, {windows:,} in all; nothing is cut."
        )
        findings.append(Finding("several_windows", "note", message, split))
    if outside:
        answers = sum(bool(e.required_question.golds) for part in PARTS for e in study.splits.part(part))
        share = outside / max(1, answers)
        level: Literal["note", "warning"] = "warning" if share > MAX_OUTSIDE_SHARE else "note"
        message = (
            f"{spec.name}: {plural(outside, 'answerable question has', 'answerable questions have')} "
            f"no gold answer inside a single window ({share:.1%}): it cannot be predicted. "
            "A larger encode.stride helps where the answer is longer than that."
        )
        findings.append(Finding("answer_outside", level, message, outside, examples_outside[:MAX_EXAMPLES]))
    return findings


def _audit_contexts(counts: dict[str, tuple[int, int]], spec: ModelSpec) -> list[Finding]:
    """Contexts that the model cannot read, by their tokens and the unknown ones of them."""
    if not counts:
        return []
    names = [f"{context[:40]!r}" for context in counts]
    blank = [not context.strip() for context in counts]
    tokens_N2 = np.array(list(counts.values()))
    findings = audit_unreadable(tokens_N2[:, 0], tokens_N2[:, 1], names, blank)
    return [replace(finding, message=f"{spec.name}: {finding.message}") for finding in findings]


def audit_question_arm(study: StudyData, arm: Arm, spec: ModelSpec, seed: int) -> list[Finding]:
    """The arm's prompt around some test questions: truncated contexts, answers lost that way, shots.

    Raises: RecipeError where the prompt does not fit.
    """
    questions = question_format(study, spec, shots_of(study, arm, seed))
    items = study.splits.test[:AUDITED_PROMPTS]
    encoded = encode_questions(questions, items)
    findings = audit_shots(questions.shots, [*study.splits.dev, *study.splits.test])
    cut, lost = int(encoded.prompts.truncated_N.sum()), int(encoded.outside_N.sum())
    if cut:
        message = (
            f"{arm.name}: of {plural(len(items), 'test question', 'test questions')} checked, "
            f"{plural(cut, 'context is', 'contexts are')} cut to fit encode.max_length "
            f"{spec.max_length:,}, and {lost:,} lose their answer that way."
        )
        level: Literal["note", "warning"] = "warning" if lost else "note"
        findings.append(Finding("context_cut", level, message, cut))
    notes = questions.build_frames(items[:1], None)[0].notes if items else ()
    findings += [Finding("chat_template", "note", note, 1) for note in notes]
    if study.recipe.task.written:
        findings += _audit_lengths(study, questions)
    elif arm.method.kind == "tuned":
        findings += _audit_golds(study, arm, questions)
    return [replace(finding, message=f"{spec.name}: {finding.message}") for finding in findings]


def _audit_lengths(study: StudyData, questions: QuestionFormat) -> list[Finding]:
    """Written answers of train and dev that are longer than an answer may be; many of them are an error."""
    items = [*study.splits.train[:AUDITED_ANSWERS], *study.splits.dev[:AUDITED_ANSWERS]]
    texts = [gold_answer_text(item, questions.prompt) for item in items]
    sizes_N = np.array([len(ids) + 1 for ids in encode_plain(questions.tokenizer, texts)])  # and their end
    limit, longest = questions.answer_tokens, int(sizes_N.max())
    cut = int((sizes_N > limit).sum())
    if not cut:
        return []
    share = cut / len(items)
    message = (
        f"{share:.1%} of {len(items):,} answers of train and dev are longer than encode.answer_tokens, "
        f"{limit:,}: they are cut when they are learnt and written. The longest has {longest:,} tokens, 95 % "
        f"have at most {int(np.quantile(sizes_N, 0.95)):,}. Set encode.answer_tokens={longest}, and "
        "encode.max_length so that text and answer fit."
    )
    if share > MAX_CUT_SHARE:
        return [blocking_finding("answer_cut", message, cut, [])]
    return [Finding("answer_cut", "warning", message, cut)]


def _audit_golds(study: StudyData, arm: Arm, questions: QuestionFormat) -> list[Finding]:
    """Train answers that are too long to be learnt with their end."""
    items = study.splits.train[:AUDITED_PROMPTS]
    golds = [gold_answer_text(item, questions.prompt) for item in items]
    cut = int(encode_questions(questions, items, golds).cut_N.sum())
    if not cut:
        return []
    message = (
        f"{arm.name}: of {plural(len(items), 'train question', 'train questions')} checked, "
        f"{plural(cut, 'answer is', 'answers are')} longer than encode.answer_tokens "
        f"{questions.answer_tokens} and learnt without their end."
    )
    return [Finding("answer_cut", "warning", message, cut)]
