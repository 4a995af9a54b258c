"""Turns and texts of prompts, the same for a model that is here and for one behind a server."""

from tuneproof.tasks.prompt_turns import chat_turns, fill_question, join_prompt

SHOTS = [("Text: a\nLabel: ", "good"), ("Text: {text}\nLabel: ", "bad")]


def test_the_instruction_opens_the_first_turn_of_the_user():
    turns = chat_turns("Label it.", SHOTS, "Text: c\nLabel: ")
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant", "user"]
    assert turns[0]["content"] == "Label it.\n\nText: a\nLabel: "
    assert turns[-1]["content"] == "Text: c\nLabel: "
    assert chat_turns("Label it.", [], "x") == [{"role": "user", "content": "Label it.\n\nx"}]
    assert chat_turns("", [], "x") == [{"role": "user", "content": "x"}]


def test_a_text_has_a_gap_before_answers_and_no_space_at_its_end():
    text, gap = join_prompt("Label it.", SHOTS[:1], "Text: c\nLabel: ")
    assert text + gap + "bad" == "Label it.\n\nText: a\nLabel: good\n\nText: c\nLabel: bad"
    assert join_prompt("", [], "c\n")[1] == ""


def test_braces_in_a_question_or_a_context_stay():
    assert fill_question("{context}|{question}", "{context}?", "{question}.") == "{question}.|{context}?"
