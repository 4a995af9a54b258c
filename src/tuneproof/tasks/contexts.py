"""The contexts of questions: one copy of each, and the answers in it, found in bounded time.

In: contexts and answers as read. Out: contexts that their questions share, located answers.
Knows nothing of: files, columns, splits, models.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from tuneproof.errors import DataError
from tuneproof.tasks.size_limits import MAX_READ, MAX_SEARCHED
from tuneproof.tasks.task import GoldAnswer
from tuneproof.tasks.whole_characters import check_whole_characters


@dataclass(frozen=True)
class Context:
    """One context; `paragraph` identifies it."""

    text: str

    @cached_property
    def paragraph(self) -> str:
        """Equal for equal contexts."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @cached_property
    def reversed(self) -> str:
        """The text backwards: `str.rfind` can take quadratic time, `str.find` does not."""
        return self.text[::-1]


def lowercase_text(text: str) -> str:
    """The text in lower case and of the same length (İ, which would become two characters, stays)."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(small if len(small := char.lower()) == 1 else char for char in text)


class Contexts:
    """Every context once; counts the characters that all questions read, and that are searched."""

    def __init__(self, lowercase: bool) -> None:
        self._lowercase = lowercase
        self._contexts: dict[str, Context] = {}
        self._starts: dict[tuple[str, str], int] = {}
        self._read = self._searched = 0

    def cased(self, text: str) -> str:
        """The text in the case that the task asks for."""
        return lowercase_text(text) if self._lowercase else text

    def context(self, where: str, text: str) -> Context:
        """The context of one more question.

        Raises: DataError if the contexts of all questions are too long together.
        """
        self._read += len(text)
        if self._read > MAX_READ:
            problem = f"the contexts of the questions up to this one have {self._read:,} characters."
            allowed = f"At most {MAX_READ:,} are allowed, with a context counted for each of its questions."
            raise DataError(where, problem, allowed, "Shorten the contexts, or keep fewer questions.")
        if text not in self._contexts:
            check_whole_characters(where, text)
            self._contexts[text] = Context(self.cased(text))
        return self._contexts[text]

    def locate(self, where: str, context: Context, text: str, start: int | None) -> GoldAnswer:
        """The answer at the start that the source gives, or at the nearest occurrence.

        Raises: DataError if the search for all answers takes too long.
        """
        if start is not None and start >= 0 and context.text.startswith(text, start):
            return GoldAnswer(text, start, "source")
        key = (context.text, text)
        if key not in self._starts:
            self._count(where, len(context.text))
            self._starts[key] = context.text.find(text)
        first = self._starts[key]
        if first < 0:
            return GoldAnswer(text, -1, "absent")
        if start is None:
            return GoldAnswer(text, first, "searched")
        self._count(where, len(context.text))
        return GoldAnswer(text, _nearest(context, text, first, start), "moved")

    def _count(self, where: str, length: int) -> None:
        self._searched += length
        if self._searched > MAX_SEARCHED:
            problem = f"the search for answers up to this one reads {self._searched:,} characters."
            allowed = f"At most {MAX_SEARCHED:,} are allowed."
            do = "Give every answer its answer_start, shorten the contexts, or keep fewer questions."
            raise DataError(where, problem, allowed, do)


def _nearest(context: Context, text: str, first: int, start: int) -> int:
    """The occurrence that is nearest to `start`; of two the earlier one. `first` is the first of all."""
    after = context.text.find(text, max(0, start))
    end = len(context.text) - len(text) - max(0, start)  # of the reversed text's occurrences after `start`
    backwards = context.reversed.find(text[::-1], max(0, end)) if first < start else -1
    before = len(context.text) - len(text) - backwards if backwards >= 0 else first
    if after < 0 or abs(before - start) <= abs(after - start):
        return before
    return after
