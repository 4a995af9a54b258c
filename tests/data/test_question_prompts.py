"""Where written answers end."""

import pytest

from tuneproof.data.question_prompts import answer_stop
from tuneproof.tasks.contexts import Contexts
from tuneproof.tasks.written_answers import item_of


@pytest.mark.parametrize(
    ("answers", "stop"),
    [
        (("one line", "another"), "\n"),
        (("one line", "two\nlines"), "\n\n"),
        (("one\u2028line of two",), "\n\n"),
        (("a\rb",), "\n\n"),
        (("one line", "two\n\nparagraphs"), ""),
    ],
)
def test_a_written_answer_ends_before_what_no_answer_of_train_holds(answers, stop) -> None:
    contexts = Contexts(lowercase=False)
    items = [item_of("row", str(i), f"text {i}", contexts, (answer,)) for i, answer in enumerate(answers)]
    assert answer_stop(items) == stop
