"""Contexts are shared by their questions, and answers are found in bounded time.

In: contexts and answers built here. Out: places and sentences. Knows nothing of: files, models.
"""

import random
import time

import pytest

from tuneproof.errors import DataError
from tuneproof.tasks import contexts
from tuneproof.tasks.contexts import Contexts
from tuneproof.tasks.question_rows import QuestionRow, build_examples


def question(number: int, context: str, *answers: str, start: int | None = None) -> QuestionRow:
    where = f"row {number}"
    return QuestionRow(where, str(number), "", context, "Why?", answers, (start,) * len(answers))


@pytest.mark.parametrize("lowercase", [False, True])
def test_questions_share_one_copy_of_their_context(lowercase):
    rows = [question(i, " ".join(["A", "context"] * 20), "context") for i in range(3)]
    questions = [item.required_question for item in build_examples(rows, lowercase)]
    assert len({id(item.context) for item in questions}) == 1


def test_a_moved_answer_is_the_nearest_occurrence_and_the_earlier_of_two():
    numbers = random.Random(0)
    for _ in range(2000):
        text = "".join(numbers.choices("ab", k=numbers.randint(1, 30)))
        answer = "".join(numbers.choices("ab", k=numbers.randint(1, 4)))
        start = numbers.randint(-5, 40)
        all_contexts = Contexts(lowercase=False)
        gold = all_contexts.locate("row", all_contexts.context("row", text), answer, start)
        occurrences = [i for i in range(len(text)) if text.startswith(answer, i)]
        expected = min(occurrences, key=lambda i: abs(i - start)) if occurrences else -1
        assert gold.start == expected, (text, answer, start)


@pytest.mark.parametrize(
    ("context", "answer", "start"),
    [
        ("a" * 1_000_000, "a", -1),
        ("a" * 1_000_000 + "b" + "a" * 500_000, "a" * 500_000, 1_000_000),
        ("a" * 1_000_000, "b" + "a" * 400_000, 900_000),
        ("a" * 1_000_000, "a" * 400_000 + "b", 900_000),
    ],
)
def test_one_answer_is_found_in_linear_time(context, answer, start):
    started = time.process_time()
    build_examples([question(1, context, answer, start=start)], lowercase=False)
    assert time.process_time() - started < 2


def test_the_same_answer_is_searched_once(monkeypatch):
    monkeypatch.setattr(contexts, "MAX_SEARCHED", 10_000)
    rows = [question(i, "A context " * 500, "absent") for i in range(10)]
    assert len(build_examples(rows, lowercase=False)) == 10


def test_a_search_that_takes_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(contexts, "MAX_SEARCHED", 10_000)
    rows = [question(i, "A context " * 500, f"absent {i}") for i in range(10)]
    with pytest.raises(DataError, match=r"row 2: the search .* reads 15,000 characters. At most 10,000"):
        build_examples(rows, lowercase=False)


def test_contexts_that_are_too_long_together_are_refused(monkeypatch):
    monkeypatch.setattr(contexts, "MAX_READ", 10_000)
    rows = [question(i, "A context " * 500, "context", start=2) for i in range(10)]
    with pytest.raises(DataError, match=r"row 2: the contexts .* have 15,000 characters. At most 10,000"):
        build_examples(rows, lowercase=False)
