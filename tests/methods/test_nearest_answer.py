"""The baselines of written answers."""

import numpy as np

from tuneproof.methods.majority import never_answer
from tuneproof.methods.overlap import answer_by_overlap
from tuneproof.tasks.contexts import Contexts
from tuneproof.tasks.written_answers import item_of

PAIRS = (
    ("my parcel is late", "It comes tomorrow."),
    ("the lamp is broken", "We send a new one."),
    ("where is my late parcel", "It comes tomorrow."),
)


def items(pairs):
    contexts = Contexts(lowercase=False)
    return [item_of("row", str(i), text, contexts, (answer,)) for i, (text, answer) in enumerate(pairs)]


def test_majority_gives_the_most_frequent_answer():
    answers = never_answer(items(PAIRS))(items([("anything", "?"), ("else", "?")]))
    assert answers.answers == ["It comes tomorrow."] * 2
    assert np.allclose(answers.score_N, 2 / 3)


def test_of_equally_frequent_answers_the_first_is_given():
    assert never_answer(items([("a", "x"), ("b", "y")]))(items([("c", "?")])).answers == ["x"]


def test_lexical_gives_the_answer_of_the_most_similar_text():
    answers = answer_by_overlap(items(PAIRS))(items([("a broken lamp", "?"), ("late parcel", "?")]))
    assert answers.answers == ["We send a new one.", "It comes tomorrow."]
    assert (answers.score_N > 0.3).all()


def test_a_text_that_shares_no_word_gets_the_first_answer_with_the_score_0():
    answers = answer_by_overlap(items(PAIRS))(items([("zzz", "?")]))
    assert (answers.answers, answers.score_N.tolist()) == (["It comes tomorrow."], [0.0])


def test_texts_in_any_script_are_compared():
    train = items([("我的包裹在哪里", "明天到。"), ("灯坏了", "我们寄新的。")])
    assert answer_by_overlap(train)(items([("灯坏", "?")])).answers == ["我们寄新的。"]


def test_texts_without_a_word_are_answered_all_the_same():
    assert answer_by_overlap(items([("   .", "x"), ("…", "y")]))(items([("?", "?")])).answers == ["x"]
