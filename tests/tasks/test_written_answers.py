"""Files of texts with written answers: tables, and messages whose last turns are no labels."""

import json

import pytest

from tuneproof.errors import DataError, RecipeError
from tuneproof.recipe.recipe import recipe_from
from tuneproof.tasks import TASKS
from tuneproof.tasks.question_rows import question_from_json, question_to_json

TASK = TASKS["answers"]


def read(tmp_path, rows, **options):
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return TASK.read(TASK.options(path=str(path), **options))


def message(tmp_path, rows, **options):
    with pytest.raises(DataError) as error:
        read(tmp_path, rows, **options)
    return str(error.value).replace(f"{tmp_path}/", "")


def conversation(text, answer, system="Reply in one line."):
    turns = (("system", system), ("user", text), ("assistant", answer))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def items(rows):
    return [(item.id, item.text, item.required_question.answers) for item in rows.parts["all"]]


def test_a_row_is_a_text_and_its_answer(tmp_path):
    rows = read(
        tmp_path, [{"text": " Where is it? ", "answer": " On its way. "}, {"text": "b", "answer": "c"}]
    )
    assert items(rows) == [("row-1", "Where is it?", ("On its way.",)), ("row-2", "b", ("c",))]
    assert rows.labels == ("answerable",)


def test_a_list_holds_several_accepted_answers(tmp_path):
    assert items(read(tmp_path, [{"text": "a", "answer": ["x", "y"]}]))[0][2] == ("x", "y")


def test_an_answer_in_json_is_a_text(tmp_path):
    answers = ['{"intent": "refund"}', "[3] Hall 4", '["a", "b"]']
    rows = read(tmp_path, [{"text": f"t{i}", "answer": answer} for i, answer in enumerate(answers)])
    assert [answer for _, _, (answer,) in items(rows)] == answers


def test_line_breaks_of_answers_stay(tmp_path):
    assert items(read(tmp_path, [{"text": "a", "answer": "x\n\ny"}]))[0][2] == ("x\n\ny",)


def test_a_number_is_an_answer_as_it_is_written(tmp_path):
    assert items(read(tmp_path, [{"text": "2 + 2", "answer": 4}]))[0][2] == ("4",)


def test_messages_give_text_answer_and_instruction(tmp_path):
    rows = read(tmp_path, [conversation(f"text {i}", f"answer {i}") for i in range(30)])
    assert rows.instruction == "Reply in one line."
    assert items(rows)[7] == ("row-8", "text 7", ("answer 7",))


def test_equal_texts_are_one_group_and_a_column_may_name_them(tmp_path):
    rows = [{"text": "a", "answer": "x", "who": "1"}, {"text": "a", "answer": "y", "who": "2"}]
    first, second = read(tmp_path, rows).parts["all"]
    assert first.group == second.group
    first, second = read(tmp_path, rows, group="who").parts["all"]
    assert (first.group, second.group) == ("1", "2")


def test_an_item_is_stored_and_read_back(tmp_path):
    question = read(tmp_path, [{"text": "two\nlines", "answer": "x"}]).parts["all"][0].required_question
    back = question_from_json("two\nlines", question_to_json(question))
    assert (back.question, back.context, back.answers) == ("", "two\nlines", ("x",))


@pytest.mark.parametrize("answer", ["", None, [], [""], ["a", 3], {"text": "a"}, True])
def test_an_answer_that_is_no_text_is_refused_with_its_row(tmp_path, answer):
    text = message(tmp_path, [{"text": "a", "answer": "x"}, {"text": "b", "answer": answer}])
    assert text.startswith("train.jsonl, line 2: the answer is ")
    assert "a list of accepted texts" in text


def test_an_empty_text_is_refused_without_advice_of_another_task(tmp_path):
    text = message(tmp_path, [{"text": "", "answer": "x"}])
    assert "1 text is empty (line 1). Fill them in, or remove these rows." in text


def test_half_a_character_is_refused(tmp_path):
    assert "half of a character" in message(tmp_path, [{"text": "a", "answer": "\ud83d"}])


def test_a_conversation_without_a_last_turn_is_refused(tmp_path):
    rows = [conversation("a", "b"), {"messages": [{"role": "user", "content": "hello"}]}]
    assert "The last turn is the answer." in message(tmp_path, rows)


def test_the_template_holds_the_text_once():
    options = TASK.options(path="x", template="{text} =>")
    prompt = TASK.prompt(options, ("answerable",))
    assert (prompt.template, prompt.no_answer) == ("{context} =>", "")
    with pytest.raises(ValueError, match=r"contain \{text\} once"):
        TASK.options(path="x", template="no slot")


def test_tuned_arms_write_unless_the_recipe_says_otherwise():
    values = {"task": {"answers": {"path": "x.csv"}}, "models": ["smollm2-135m"]}
    arms = recipe_from({**values, "arms": ["lora", {"full": {"objective": "head"}}]}).arms
    objective = {arm.name: arm.options.objective for arm in arms if arm.name in ("lora", "full")}
    assert objective == {"lora": "words", "full": "head"}
    (lora,) = recipe_from({"task": "sst2", "models": ["smollm2-135m"], "arms": ["lora"]}).arms
    assert lora.options.objective == "head"


def test_two_files_share_no_id(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("key,text,answer\n1,t,x\n")
    with pytest.raises(DataError, match="the id '1' is also in the train file"):
        TASK.read(TASK.options(path=str(tmp_path / "a.csv"), test=str(tmp_path / "b.csv"), id="key"))


def test_a_recipe_names_a_setting_that_the_task_lacks():
    with pytest.raises(RecipeError, match="no_answer"):
        recipe_from({"task": {"answers": {"path": "x.csv", "no_answer": "none"}}, "arms": ["majority"]})
