"""The lexical baseline of questions: the right sentence, the wanted kind of span, honest scores."""

import pytest

from tuneproof.methods.majority import never_answer
from tuneproof.methods.overlap import answer_by_overlap
from tuneproof.tasks.question_rows import QuestionRow, build_examples
from tuneproof.tasks.task import Example

CONTEXT = (
    "The castle of Falaise was built by Richard the Fearless. In 1066 William sailed to England "
    "with seven hundred ships. The weather was mild, and nobody complained about the food."
)


def ask(question: str, context: str = CONTEXT) -> Example:
    return build_examples([QuestionRow("r", "q", "t", context, question, (), ())], False)[0]


TRAIN = [ask("?", CONTEXT), ask("?", "The weather was bad."), ask("?", "The food was good.")]


@pytest.mark.parametrize(
    ("question", "holds"),
    [
        ("When did William sail to England?", "1066"),
        ("Who built the castle of Falaise?", "Richard"),
        ("What did nobody complain about?", "weather was mild"),
    ],
)
def test_the_answer_is_of_the_wanted_kind_from_the_sentence_that_shares_most(question, holds):
    found = answer_by_overlap(TRAIN)([ask(question)])
    if holds == "weather was mild":
        sentence = CONTEXT[CONTEXT.index("The weather") :]
        assert found.answers[0] in sentence
    else:
        assert holds in found.answers[0]
    assert found.answers[0] in CONTEXT


def test_the_null_score_is_minus_the_share_of_the_question_that_is_covered():
    whole, none = ask("William sailed to England?"), ask("Which quarks decay quickest?")
    found = answer_by_overlap(TRAIN)([whole, none])
    assert found.null_N[0] == -1
    assert found.null_N[1] == 0
    assert (found.score_N == -found.null_N).all()


@pytest.mark.parametrize("context", ["x", "?", "a the of", "Yes."])
def test_any_context_gives_a_piece_of_itself(context):
    found = answer_by_overlap(TRAIN)([ask("Who is it?", context)])
    assert found.answers[0] in context
    assert found.answers[0]


def test_never_answering_answers_nothing():
    found = never_answer(TRAIN)([ask("a?"), ask("b?")])
    assert list(found.answers) == ["", ""]
    assert found.null_N.tolist() == [0, 0]


def test_a_sentence_of_a_script_without_spaces_is_found_by_its_characters():
    context = "猫睡在炉子上。狗在花园里跑步。鸟在天空中飞。"
    answers = answer_by_overlap([ask("?", context)])([ask("狗在哪里跑步？", context)])
    assert answers.answers[0] in "狗在花园里跑步"
    assert answers.null_N[0] < -0.5


@pytest.mark.parametrize(
    ("question", "is_known"), [("Who won?", True), ("Кто выиграл?", False), ("Wer hat gewonnen?", False)]
)
def test_a_note_says_where_questions_have_no_english_question_word(question, is_known):
    notes = answer_by_overlap(TRAIN)([ask(question)]).notes
    assert notes == () if is_known else "100% of the questions hold no English question word" in notes[0]
