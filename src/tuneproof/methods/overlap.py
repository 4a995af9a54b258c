"""The lexical baseline of questions: the sentence that shares most with the question, then a span.

In: questions of train, questions to answer. Out: an answer and scores for each.
Knows nothing of: language models, thresholds.

The weights of words are inverse frequencies over train's paragraphs. In the sentence whose words cover
most of the question's weight, the answer is a run of words that the question does not hold: one of the
expected kind (a number for "when" and "how many", a capital for "who" and "where"), nearest to what the
two share. The null score is minus the covered share, 0 to 1. Words are shared in any script; kinds are
expected of English questions alone, which a note says where most questions are not.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise

import numpy as np

from tuneproof.methods.method import BaselineAnswers
from tuneproof.methods.nearest_answer import answer_of_nearest, has_written_answers
from tuneproof.metrics.words import word_pattern
from tuneproof.tasks.task import Example

LONGEST_RUN = 6  # words
_SENTENCE = re.compile(r"(?<=[.!?])[\"'”)\]]*\s+|(?<=[。！？｡।؟။។])")
_BREAK = re.compile(r"[,;:()、，；：（）「」،؛]")
_NUMBER = re.compile(r"\b(when|how (many|much|long|old|far)|what (year|date|percent\w*|century))\b")
_NAME = re.compile(r"\b(who|whom|whose|where|which|what (country|city|person|company|team))\b")
_QUESTION_WORD = re.compile(r"\b(who|whom|whose|what|when|where|which|why|how)\b", re.IGNORECASE)
NOT_ENGLISH = (
    "{share:.0%} of the questions hold no English question word (who, when, how many); the baseline knows no "
    "other, so it expects no kind of answer to them."
)
_STOP_WORDS = """
    a an the of in on at to for from by with and or but as is are was were be been being do does did
    has have had that this these those it its his her their he she they who whom whose what when
    where which why how many much there than then not no also into about over after before
"""
_STOP = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True)
class _Word:
    """A word of a context: how it is compared, and where it stands."""

    stem: str
    start: int
    end: int


@cache
def _word() -> re.Pattern[str]:
    return re.compile(rf"(?:{word_pattern()})(?:[.,'’-](?:{word_pattern()}))*")


@cache
def _stem(word: str) -> str:
    """Lower case, without the commonest English endings: enough for counting shared words."""
    small = word.lower()
    for ending in ("ing", "ed", "es", "s"):
        if small.endswith(ending) and len(small) - len(ending) >= 4:
            return small[: -len(ending)]
    return small


def _words(text: str, start: int = 0, end: int | None = None) -> list[_Word]:
    matches = _word().finditer(text, start, len(text) if end is None else end)
    return [_Word(_stem(match[0]), match.start(), match.end()) for match in matches]


@cache
def _sentences(context: str) -> tuple[tuple[_Word, ...], ...]:
    edges = [0, *(match.end() for match in _SENTENCE.finditer(context)), len(context)]
    parts = (_words(context, a, b) for a, b in pairwise(edges))
    return tuple(tuple(words) for words in parts if words)


def _weights(train: Sequence[Example]) -> tuple[dict[str, float], float]:
    """Each word's weight, and the weight of a word that train does not hold."""
    contexts = {item.required_question.context for item in train}
    counts = Counter(stem for context in contexts for stem in {word.stem for word in _words(context)})
    highest = math.log(1 + len(contexts))
    return {stem: highest - math.log(count) for stem, count in counts.items()}, highest


def answer_by_overlap(train: Sequence[Example]) -> Callable[[Sequence[Example]], BaselineAnswers]:
    """What answers questions with the weights of train's words; written answers, by the most similar text."""
    if has_written_answers(train):
        return answer_of_nearest(train)
    return partial(_answer, *_weights(train))


def _answer(weights: dict[str, float], unknown: float, questions: Sequence[Example]) -> BaselineAnswers:
    """An answer for every question, with the share of its weight that the sentence covers."""
    answers, shares = [], []
    for item in questions:
        text, context = item.required_question.question, item.required_question.context
        question_weights = {
            word.stem: weights.get(word.stem, unknown) for word in _words(text) if word.stem not in _STOP
        }
        total = sum(question_weights.values())
        sentences = _sentences(context) or ((_Word("", 0, len(context)),),)
        covered = [
            sum(question_weights.get(stem, 0.0) for stem in {word.stem for word in sentence})
            for sentence in sentences
        ]
        best = int(np.argmax(covered))
        start, end = _span(text, context, sentences[best], question_weights)
        answers.append(context[start:end])
        shares.append(covered[best] / total if total else 0.0)
    share_N = np.array(shares, dtype=np.float64)
    return BaselineAnswers(answers, -share_N, share_N, len(weights), _notes(questions))


def _notes(questions: Sequence[Example]) -> tuple[str, ...]:
    others = [item for item in questions if not _QUESTION_WORD.search(item.required_question.question)]
    share = len(others) / max(1, len(questions))
    return (NOT_ENGLISH.format(share=share),) if share > 0.5 else ()


def _span(
    question: str, context: str, sentence: Sequence[_Word], weights: dict[str, float]
) -> tuple[int, int]:
    """Start and end of the answer in the context."""
    runs: list[list[int]] = []
    for index, word in enumerate(sentence):
        if word.stem in weights or word.stem in _STOP:
            continue
        gap = context[sentence[index - 1].end : word.start] if index else ""
        joins = runs and runs[-1][-1] == index - 1 and not _BREAK.search(gap)
        if joins and len(runs[-1]) < LONGEST_RUN:
            runs[-1].append(index)
        else:
            runs.append([index])
    if not runs:
        return sentence[0].start, sentence[-1].end
    shared = [index for index, word in enumerate(sentence) if word.stem in weights]
    lower_question = question.lower()

    def rank(run: list[int]) -> tuple[int, float, int]:
        text = context[sentence[run[0]].start : sentence[run[-1]].end]
        matches_kind = 0
        if _NUMBER.search(lower_question):
            matches_kind = any(char.isdigit() for char in text)
        elif _NAME.search(lower_question):
            matches_kind = text[:1].isupper() and run[0] > 0
        near = sum(
            weights[sentence[index].stem] / (1 + min(abs(index - run[0]), abs(index - run[-1])))
            for index in shared
        )
        return int(matches_kind), near, -run[0]

    best = max(runs, key=rank)
    return sentence[best[0]].start, sentence[best[-1]].end
