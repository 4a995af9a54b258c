"""Files of messages, as hosted fine-tuning takes them: the assistant's turn is the label."""

import json

import pytest

from tuneproof.errors import DataError
from tuneproof.tasks import TASKS

TASK = TASKS["labels"]
SYSTEM = "You judge reviews."


def row(*turns):
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def good(system=SYSTEM):
    texts = (("fine", "pos"), ("good", "pos"), ("bad", "neg"), ("dull", "neg"))
    return [row(("system", system), ("user", text), ("assistant", label)) for text, label in texts]


def read(tmp_path, rows, **options):
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(entry) for entry in rows))
    return TASK.read(TASK.options(path=str(path), **options))


def message(tmp_path, rows):
    with pytest.raises(DataError) as error:
        read(tmp_path, rows)
    return str(error.value).replace(f"{tmp_path}/", "")


def items(rows):
    return [(item.id, item.text, rows.labels[item.label]) for item in rows.parts["all"]]


def test_the_turns_become_text_label_and_instruction(tmp_path):
    rows = read(tmp_path, good())
    assert rows.labels == ("neg", "pos")
    assert items(rows)[0] == ("row-1", "fine", "pos")
    assert rows.instruction == SYSTEM


def test_several_system_turns_stand_before_their_texts(tmp_path):
    rows = read(tmp_path, [*good(), *good("Other.")])
    assert rows.instruction is None
    assert items(rows)[0][1] == f"{SYSTEM}\n\nfine"
    assert items(rows)[-1][1] == "Other.\n\ndull"


def test_a_file_without_system_turns_has_no_instruction(tmp_path):
    rows = read(
        tmp_path, [row(*((t["role"], t["content"]) for t in entry["messages"][1:])) for entry in good()]
    )
    assert rows.instruction is None
    assert items(rows)[0][1] == "fine"


def test_earlier_turns_are_part_of_the_text(tmp_path):
    longer = row(("user", "hi"), ("assistant", "hello"), ("user", "awful"), ("assistant", "neg"))
    rows = read(tmp_path, [*good(""), longer])
    assert items(rows)[-1][1:] == ("user: hi\nassistant: hello\nuser: awful", "neg")


def test_parts_of_text_are_joined_and_a_column_of_texts_goes_first(tmp_path):
    parts = row(
        ("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), ("assistant", "neg")
    )
    assert items(read(tmp_path, [*good(), parts]))[-1][1] == "a\nb"
    both = [{**entry, "text": f"t{i}", "label": "x" if i % 2 else "y"} for i, entry in enumerate(good())]
    assert items(read(tmp_path, both))[0][1] == "t0"


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ([("user", "x")], "does not end with the assistant's turn (line 5)"),
        ([("assistant", "pos")], "line 5: the conversation has no turn of the user"),
        ([("user", "x"), ("tool", "y"), ("assistant", "pos")], "line 5: a turn has the role 'tool'"),
        ([("user", None), ("assistant", "pos")], "line 5: the content of a turn of the user is not text"),
        ([("user", [{"type": "image_url"}]), ("assistant", "pos")], "of the user is not text"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path, turns, words):
    assert words in message(tmp_path, [*good(), row(*turns)])


def test_messages_that_are_no_list_are_named(tmp_path):
    assert "line 5: messages is not a list of turns" in message(tmp_path, [*good(), {"messages": "hello"}])


def test_answers_are_not_read_as_labels(tmp_path):
    rows = [row(("user", f"What is {n}?"), ("assistant", f"It is {n}, of course.")) for n in range(24)]
    text = message(tmp_path, rows)
    assert "24 of its 24 last turns are different texts: answers, not labels" in text
    assert "Add --answers" in text
    many = [row(("user", f"text {n}"), ("assistant", f"label {n % 11}")) for n in range(24)]
    assert len(read(tmp_path, many).labels) == 11
