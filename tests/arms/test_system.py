"""Replies of systems made elsewhere become predictions: nothing is filled in, no two units are mixed."""

from types import SimpleNamespace

import numpy as np
import pytest

from tuneproof.arms.system import _read_replies
from tuneproof.inference.answers import MISSING_ANSWER
from tuneproof.methods.system import SystemReplies
from tuneproof.metrics.metric import UNPARSED
from tuneproof.tasks.task import Example, GoldAnswer, Prompt, Question, QuestionPrompt


def questions(count):
    golds = (GoldAnswer("Paris", 0),)
    return [
        Example(f"q{i}", "x", 0, "g", (), Question("Where?", "Paris", golds if i % 2 else (), "p"))
        for i in range(count)
    ]


def study_of(kind, dev, test, labels=("negative", "positive")):
    prompt = QuestionPrompt("", "{context} {question}", "no answer")
    words = Prompt("", "{text}", labels, "{text} {mask}", labels)
    parts = {"dev": dev, "test": test}
    splits = SimpleNamespace(dev=dev, test=test, part=parts.__getitem__)
    return SimpleNamespace(kind=kind, splits=splits, labels=labels, prompt=words, question_prompt=prompt)


def messages(findings):
    return [(finding.level, finding.message) for finding in findings]


@pytest.mark.parametrize("hole", ["a missing reply", "a score that is not given"])
def test_scores_for_no_answer_count_only_where_every_item_has_one(hole):
    texts, null_N = ["Paris"] * 4, np.array([-8.0, -9.0, -7.0, -6.0])
    if hole == "a missing reply":
        texts[3] = None
    else:
        null_N[3] = np.nan
    study = study_of("questions", questions(2), questions(2))
    predictions, _ = _read_replies(study, SystemReplies(texts, null_N=null_N))
    np.testing.assert_array_equal(predictions["test"].null_N, [0, 0])
    np.testing.assert_array_equal(predictions["dev"].null_N, [0, 0])
    whole, _ = _read_replies(study, SystemReplies(["Paris"] * 4, null_N=np.arange(4.0)))
    np.testing.assert_array_equal(whole["test"].null_N, [2, 3])


def test_a_missing_answer_is_never_right_not_even_of_a_question_without_one():
    study = study_of("questions", questions(2), questions(2))
    predictions, findings = _read_replies(study, SystemReplies([None, None, None, "Paris"]))
    assert predictions["test"].answers[0] == MISSING_ANSWER
    assert predictions["test"].right_N.tolist() == [False, True]
    missing = "items have no prediction; they count as wrong, as a class of their own."
    assert messages(findings) == [("warning", f"2 of 2 dev {missing}"), ("warning", f"1 of 2 test {missing}")]


def test_a_label_is_read_by_name_by_word_and_at_the_beginning_of_a_text():
    items = [Example(str(i), "x", 1, "g") for i in range(6)]
    replies = ["positive", " Positive. ", "**Positive** because", "it may be positive", None, ""]
    predictions, findings = _read_replies(study_of("labels", [], items), SystemReplies(replies))
    names = [predictions["test"].predicted_label(row) for row in range(6)]
    assert names == ["positive", "positive", "positive", None, None, None]
    assert (predictions["test"].predicted_N == UNPARSED).sum() == 3
    assert [level for level, _ in messages(findings)] == ["warning", "warning", "note"]
