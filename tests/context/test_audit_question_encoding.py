"""The audit of questions as tokens: answers that do not fit are counted."""

from tests.arms.questions import question_models, question_recipe, question_rows, write_questions
from tuneproof.study.plan import check


def test_answers_that_are_too_long_to_be_learnt_whole_are_counted(tmp_path):
    rows = [
        {**row, "context": 3 * row["context"], "answers": [3 * row["context"]] * len(row["answers"])}
        for row in question_rows()
    ]
    write_questions(tmp_path / "questions.jsonl", rows)
    models = question_models(tmp_path, ["llama"])
    arms = ["majority", {"full": {"objective": "words"}}]
    plan = check(question_recipe(tmp_path, [models["llama"]], arms))
    findings = {finding.name: finding for finding in plan.findings}
    assert findings["answer_cut"].count > 0
    assert "learnt without their end" in findings["answer_cut"].message
