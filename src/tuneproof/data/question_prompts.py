"""Questions as prompts for a model that generates its answers.

In: a tokenizer, a family, questions, a prompt, shots. Out: ids of prompts and answers.
Knows nothing of: weights, batches, predictions.

Only the context is ever truncated, never the instruction, the shots or the question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneproof.data import tokens
from tuneproof.data.encode import EncodedAnswers, EncodedPrompts
from tuneproof.data.prefix_trie import common_prefix
from tuneproof.data.prompt_format import SLOT, FittedPrompts, PromptFrame, build_frame, fit_frames
from tuneproof.data.tokens import IntArray, TruncateSide
from tuneproof.errors import RecipeError
from tuneproof.families.family import Family
from tuneproof.tasks.prompt_turns import fill_question
from tuneproof.tasks.task import Example, QuestionPrompt


@dataclass(frozen=True)
class QuestionFormat:
    """How one model gets its questions: prompt, shots and limits.

    `answer_tokens` stay free after every prompt, within `max_length`.
    """

    tokenizer: Any
    family: Family
    prompt: QuestionPrompt
    shots: Sequence[Example]
    max_length: int
    truncate: TruncateSide
    chat: Literal["auto", "never"]
    answer_tokens: int

    @property
    def uses_chat(self) -> bool:
        """Whether prompts go through the model's chat template."""
        return self.chat == "auto" and bool(self.tokenizer.chat_template)

    def build_frames(self, examples: Sequence[Example], answers: Sequence[str] | None) -> list[PromptFrame]:
        """Every question's prompt, with SLOT in the place of its context."""
        none, instruction = self.prompt.no_answer, self.prompt.instruction
        shots = [
            (self._fill_template(shot, shot.required_question.context), gold_answer_text(shot, self.prompt))
            for shot in self.shots
        ]
        frames = []
        for index, example in enumerate(examples):
            texts = (none,) if answers is None else (none, answers[index] or none)
            query = self._fill_template(example, SLOT)
            frames.append(build_frame(self.tokenizer, instruction, shots, query, texts, self.chat))
        return frames

    def _fill_template(self, example: Example, context: str) -> str:
        """The template with the question filled in; in a chat template nothing in it is markup."""
        question = example.required_question.question
        if self.uses_chat:
            question = tokens.escape_special(question, tokens.special_strings(self.tokenizer))
        return fill_question(self.prompt.template, question, context)


@dataclass(frozen=True)
class EncodedQuestions:
    """N prompts with their answers: the no-answer string, then the answer of each item, if there are any.

    `ends` are the tokens that end an answer. `outside_N`: truncation removed all gold answers from the
    context. `cut_N`: the answer was longer than `answer_tokens` and was truncated.
    """

    prompts: EncodedPrompts
    ends: tuple[int, ...]
    outside_N: NDArray[np.bool_]
    cut_N: NDArray[np.bool_]


def gold_answer_text(example: Example, prompt: QuestionPrompt) -> str:
    """What the model should say: the first gold answer, or the no-answer string."""
    answers = example.required_question.answers
    return answers[0] if answers else prompt.no_answer


def end_tokens(tokenizer: Any, after_answer: str) -> tuple[int, ...]:
    """The tokens that end an answer: the chat template's own, or the end of text, or a line end."""
    special = tokens.special_ids(tokenizer)
    for token in tokenizer(after_answer, add_special_tokens=False)["input_ids"] if after_answer else ():
        if token in special:
            return (token,)
    if tokenizer.eos_token_id is not None:
        return (tokenizer.eos_token_id,)
    return tuple(tokens.encode_plain(tokenizer, ["\n"])[0])


def encode_questions(
    question_format: QuestionFormat, examples: Sequence[Example], answers: Sequence[str] | None = None
) -> EncodedQuestions:
    """Every question's prompt with the no-answer string after it, and with its answer, if there is one.

    Raises: RecipeError if a prompt without its context does not fit, or the no-answer string is as
    long as an answer may be; ModelError if the chat template breaks the BOS token.
    """
    frames = question_format.build_frames(examples, answers)
    contexts = [example.required_question.context for example in examples]
    limit, limits = question_format.answer_tokens, (question_format.max_length, question_format.truncate)
    tokenizer, family = question_format.tokenizer, question_format.family
    fitted = fit_frames(tokenizer, family, frames, contexts, *limits, room=limit)
    ends = end_tokens(tokenizer, frames[0].after_answer) if frames else ()
    prompts, cut_N = _split_answers(question_format, fitted, ends)
    longest = max((len(continuations[0]) for continuations in prompts.continuations), default=0)
    if longest >= limit:
        problem = f"{limit} leaves no room to say {question_format.prompt.no_answer!r} and to end."
        raise RecipeError("encode.answer_tokens", problem, do="Raise it, or choose a shorter no_answer.")
    outside_N = np.zeros(len(examples), dtype=bool)
    if question_format.prompt.no_answer:  # written answers are pieces of no context
        outside_N = _find_outside(examples, fitted)
    return EncodedQuestions(prompts, ends, outside_N, cut_N)


def _find_outside(examples: Sequence[Example], fitted: FittedPrompts) -> NDArray[np.bool_]:
    outside_N = np.zeros(len(examples), dtype=bool)
    for index in np.flatnonzero(fitted.truncated_N).tolist():
        answers = examples[index].required_question.answers
        outside_N[index] = bool(answers) and not any(answer in fitted.texts[index] for answer in answers)
    return outside_N


def _split_answers(
    question_format: QuestionFormat, fitted: FittedPrompts, ends: tuple[int, ...]
) -> tuple[EncodedPrompts, NDArray[np.bool_]]:
    contexts: list[IntArray] = []
    continuations: list[tuple[IntArray, ...]] = []
    limit = question_format.answer_tokens
    cut_N = np.zeros(len(fitted.ids), dtype=bool)
    for index, (prompt, *answered) in enumerate(fitted.ids):
        shared = min(common_prefix(prompt, ids) for ids in answered)
        answers = [[*ids[shared:], *ends] for ids in answered]
        cut_N[index] = len(answers[-1]) > limit
        contexts.append(np.array(prompt[:shared], dtype=np.int64))
        continuations.append(tuple(np.array(answer[:limit], dtype=np.int64) for answer in answers))
    prompt_ids = [np.array(ids[0], dtype=np.int64) for ids in fitted.ids]
    tokens_N = np.array([len(ids) for ids in prompt_ids], dtype=np.int64)
    encoded = EncodedPrompts(
        contexts,
        continuations,
        prompt_ids,
        tokens_N,
        fitted.untruncated_N,
        fitted.truncated_N,
        fitted.counts,
        chat=question_format.uses_chat,
        first=fitted.first,
    )
    return encoded, cut_N


def answer_stop(train: Sequence[Example]) -> str:
    """The text before which a written answer ends: what no answer of train holds.

    A line end; a blank line, where answers have several lines; nothing, where they have blank lines. By it a
    base model that never ends its answer is not scored on what it goes on to write.
    """
    answers = [answer for item in train for answer in item.required_question.answers]
    if all(len(answer.splitlines()) == 1 for answer in answers):
        return "\n"
    return "" if any("\n\n" in answer for answer in answers) else "\n\n"


def encode_gold_answers(
    question_format: QuestionFormat, examples: Sequence[Example]
) -> tuple[EncodedAnswers, EncodedQuestions]:
    """Every question with its gold answer; the loss counts the answer and its end only.

    If truncation removed all gold answers from the context, the no-answer string is learnt instead.

    Raises: as `encode_questions`.
    """
    golds = [gold_answer_text(example, question_format.prompt) for example in examples]
    encoded = encode_questions(question_format, examples, golds)
    prompts = encoded.prompts
    ids, supervised = [], []
    for index, context in enumerate(prompts.contexts):
        no_answer, gold = prompts.continuations[index]
        answer = no_answer if encoded.outside_N[index] else gold
        ids.append(np.concatenate([context, answer]))
        supervised.append(np.arange(len(context) + len(answer)) >= len(context))
    lengths_N = np.array([len(row) for row in ids], dtype=np.int64)
    return EncodedAnswers(ids, supervised, lengths_N, prompts.truncated_N, prompts.counts), encoded
