"""Questions as prompts for a model that writes its answers.

In: a tokenizer, a family, questions, the words of the prompt, shots. Out: ids of prompts and answers.
Knows nothing of: weights, batches, predictions.

The context alone is ever cut; the instruction, the shots and the question are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.encode import EncodedAnswers, EncodedPrompts
from tuneproof.data.prefix_trie import common_tokens
from tuneproof.data.prompt_format import SLOT, Fitted, Frame, build_frame, fit_frames
from tuneproof.data.tokens import Cut, IntArray, defuse, encode_plain, special_ids, special_strings
from tuneproof.errors import RecipeError
from tuneproof.families.family import Family
from tuneproof.tasks.task import Example, QuestionPrompt


@dataclass(frozen=True)
class Asking:
    """How questions are put to one model: the words, the shots, and what may be cut to what.

    `answer_tokens` are kept free behind every prompt, within `max_length`.
    """

    tokenizer: Any
    family: Family
    prompt: QuestionPrompt
    shots: Sequence[Example]
    max_length: int
    truncate: Cut
    chat: Literal["auto", "never"]
    answer_tokens: int

    @property
    def markup(self) -> bool:
        """Whether prompts go through the model's chat template."""
        return self.chat == "auto" and bool(self.tokenizer.chat_template)


@dataclass(frozen=True)
class EncodedQuestions:
    """N prompts with answers after them: the no-answer string first, then one more where one is given.

    `ends` are the tokens that end an answer. `outside_N`: golds, none of which is left in the context.
    `cut_N`: the answer given was longer than may be, and was cut.
    """

    asked: EncodedPrompts
    ends: tuple[int, ...]
    outside_N: NDArray[np.bool_]
    cut_N: NDArray[np.bool_]


def _filled(asking: Asking, example: Example, context: str) -> str:
    """The template around a question; in a chat template nothing in the question is markup."""
    question = example.asked.question
    if asking.markup:
        question = defuse(question, special_strings(asking.tokenizer))
    parts = asking.prompt.template.partition("{context}")
    before, after = (part.replace("{question}", question) for part in (parts[0], parts[2]))
    return before + context + after


def _frames(asking: Asking, examples: Sequence[Example], answers: Sequence[str] | None) -> list[Frame]:
    shots = [
        (_filled(asking, shot, shot.asked.context), gold_text(shot, asking.prompt)) for shot in asking.shots
    ]
    made = []
    for place, example in enumerate(examples):
        none = asking.prompt.no_answer
        ways = (none,) if answers is None else (none, answers[place] or none)
        asked = _filled(asking, example, SLOT)
        made.append(build_frame(asking.tokenizer, asking.prompt.instruction, shots, asked, ways, asking.chat))
    return made


def gold_text(example: Example, prompt: QuestionPrompt) -> str:
    """What a model should say: the first gold answer, or that there is none."""
    answers = example.asked.answers
    return answers[0] if answers else prompt.no_answer


def end_tokens(tokenizer: Any, tail: str) -> tuple[int, ...]:
    """What ends an answer: the chat template's own mark, else the end of text, else a line's end."""
    special = special_ids(tokenizer)
    for token in tokenizer(tail, add_special_tokens=False)["input_ids"] if tail else ():
        if token in special:
            return (token,)
    if tokenizer.eos_token_id is not None:
        return (tokenizer.eos_token_id,)
    return tuple(encode_plain(tokenizer, ["\n"])[0])


def encode_questions(
    asking: Asking, examples: Sequence[Example], answers: Sequence[str] | None = None
) -> EncodedQuestions:
    """Every question's prompt with the no-answer string after it, and with its `answers` where given.

    Raises: RecipeError where a prompt without its context is longer than fits, or the no-answer string
    is as long as an answer may be; ModelError where the chat template breaks the begin token.
    """
    frames = _frames(asking, examples, answers)
    contexts = [example.asked.context for example in examples]
    fitted = fit_frames(
        asking.tokenizer,
        asking.family,
        frames,
        contexts,
        asking.max_length,
        asking.truncate,
        asking.answer_tokens,
    )
    ends = end_tokens(asking.tokenizer, frames[0].tail) if frames else ()
    asked, cut_N = _split(asking, fitted, ends)
    none = max((len(ways[0]) for ways in asked.continuations), default=0)
    if none >= asking.answer_tokens:
        raise RecipeError(
            "encode.answer_tokens",
            f"{asking.answer_tokens} leaves no room to say {asking.prompt.no_answer!r} and to end.",
            do="Raise it, or choose a shorter no_answer.",
        )
    return EncodedQuestions(asked, ends, _outside(examples, fitted), cut_N)


def _outside(examples: Sequence[Example], fitted: Fitted) -> NDArray[np.bool_]:
    return np.array(
        [
            bool(cut)
            and bool(example.asked.golds)
            and not any(answer in kept for answer in example.asked.answers)
            for example, kept, cut in zip(examples, fitted.kept, fitted.truncated_N, strict=True)
        ],
        dtype=bool,
    )


def _split(asking: Asking, fitted: Fitted, ends: tuple[int, ...]) -> tuple[EncodedPrompts, NDArray[np.bool_]]:
    contexts: list[IntArray] = []
    continuations: list[tuple[IntArray, ...]] = []
    cut_N = np.zeros(len(fitted.ids), dtype=bool)
    for place, (whole, *answered) in enumerate(fitted.ids):
        shared = min(common_tokens(whole, ids) for ids in answered)
        ways = [[*ids[shared:], *ends] for ids in answered]
        cut_N[place] = len(ways[-1]) > asking.answer_tokens
        contexts.append(np.array(whole[:shared], dtype=np.int64))
        continuations.append(tuple(np.array(way[: asking.answer_tokens], dtype=np.int64) for way in ways))
    prompts = [np.array(ids[0], dtype=np.int64) for ids in fitted.ids]
    asked = EncodedPrompts(
        contexts=contexts,
        continuations=continuations,
        prompts=prompts,
        tokens_N=np.array([len(ids) for ids in prompts], dtype=np.int64),
        truncated_N=fitted.truncated_N,
        counts=fitted.counts,
        chat=asking.markup,
        first=fitted.first,
    )
    return asked, cut_N


def encode_gold_answers(
    asking: Asking, examples: Sequence[Example]
) -> tuple[EncodedAnswers, EncodedQuestions]:
    """Every question with its gold answer, of which the loss sees the answer and its end alone.

    Where the context was cut and no gold is left in it, there is no answer, and that is what is learnt.

    Raises: as `encode_questions`.
    """
    golds = [gold_text(example, asking.prompt) for example in examples]
    found = encode_questions(asking, examples, golds)
    ids, supervised = [], []
    for place, context in enumerate(found.asked.contexts):
        none, gold = found.asked.continuations[place]
        answer = none if found.outside_N[place] else gold
        ids.append(np.concatenate([context, answer]))
        supervised.append(np.arange(len(context) + len(answer)) >= len(context))
    lengths_N = np.array([len(row) for row in ids], dtype=np.int64)
    asked = found.asked
    return EncodedAnswers(ids, supervised, lengths_N, asked.truncated_N, asked.counts), found
