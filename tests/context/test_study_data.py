"""What all arms of a study share."""

from tests.arms.questions import question_recipe, question_rows, write_questions
from tests.inference.test_answers import answered
from tuneproof.context.study_data import apply_dev_threshold
from tuneproof.study.plan import check

DEV = answered(["x", "y"], ["x", "y"], [-2.0, -1.0])
TEST = answered(["x", None], ["x", "y"], [5.0, 9.0])


def test_where_train_and_dev_have_an_answer_to_every_question_none_is_withheld():
    result = apply_dev_threshold(DEV, TEST, answers_all=True)
    assert result.test.texts == ["x", "y"]
    assert result.chosen["by"] == "every question of train and dev has an answer"


def test_a_dev_part_that_has_no_unanswerable_question_by_chance_chooses_a_threshold():
    result = apply_dev_threshold(DEV, TEST)
    assert result.test.texts == ["", ""]
    assert result.chosen["by"] == "highest F1 on dev"


def test_only_questions_of_train_and_dev_say_whether_all_have_an_answer(tmp_path):
    assert not check(question_recipe(tmp_path, [], ["majority"])).study.answers_all
    answerable = [row for row in question_rows() if row["answers"]]
    write_questions(tmp_path / "questions.jsonl", answerable)
    assert check(question_recipe(tmp_path, [], ["majority"])).study.answers_all
