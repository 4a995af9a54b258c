"""Answers stand outside the thoughts that a chat template opens.

In: templates as thinking models have them, in own words. Out: nothing. Knows nothing of: weights.
"""

import pytest

from tests.tiny_models import tiny_tokenizer
from tuneproof.data.chat_thoughts import closing_mark, open_mark
from tuneproof.data.prompt_format import SLOT, PromptFrame, build_frame
from tuneproof.errors import ModelError

SWITCHED = (
    "[model] {% if NAME is defined and NAME is false %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}"
)


def frame(
    opening: str,
    turn: str = "[model] {{ m['content'] }}</s>",
    comment: str = "",
    answers: tuple[str, ...] = ("good", "bad"),
) -> PromptFrame:
    tokenizer = tiny_tokenizer("llama", chat=True)
    tokenizer.chat_template = (
        (
            "{# COMMENT #}{{ bos_token }}{% for m in messages %}"
            "{% if m.role == 'user' %}[user] {{ m['content'] }}\n"
            "{% else %}TURN{% endif %}{% endfor %}{% if add_generation_prompt %}OPENING{% endif %}"
        )
        .replace("COMMENT", comment)
        .replace("TURN", turn)
        .replace("OPENING", opening)
    )
    return build_frame(tokenizer, "Say.", [], f"Text: {SLOT}", answers, "auto")


@pytest.mark.parametrize("switch", ["enable_thinking", "thinking", "enable_reasoning"])
def test_the_templates_own_switch_leaves_thoughts_out_and_it_is_said(switch) -> None:
    made = frame(SWITCHED.replace("NAME", switch))
    assert made.after == "\n[model] <think>\n\n</think>\n\n"
    assert made.answers == ("good", "bad")
    note = f"its chat template is called with {switch}=False, so that answers stand outside thoughts."
    assert made.notes == (note,)


@pytest.mark.parametrize(
    ("opening", "comment", "after"),
    [
        ("[model] <think>\n", "", "[model] <think>\n\n</think>\n\n"),
        ("[model] <reasoning>", "", "[model] <reasoning></reasoning>"),
        ("[model] [THINK]", "", "[model] [THINK][/THINK]"),
        ("[model] ◁think▷", "", "[model] ◁think▷◁/think▷"),
        ("[model] <seed:think>", "", "[model] <seed:think></seed:think>"),
        ("<|START_THINKING|>", "<|END_THINKING|>", "<|START_THINKING|><|END_THINKING|>"),
        ("<|begin_of_thought|>\n", "<|end_of_thought|>", "<|begin_of_thought|>\n\n<|end_of_thought|>\n\n"),
    ],
)
def test_thoughts_that_a_template_opens_are_closed_and_it_is_said(opening, comment, after) -> None:
    made = frame(opening, comment=comment)
    assert made.after == f"\n{after}"
    assert "before the answer" in made.notes[0]
    assert open_mark(made.after) is None
    assert made.after_answer == "</s>"


@pytest.mark.parametrize(
    "opening", ["<|start|>model<|channel|>analysis<|message|>", "<|channel>thought\n", "<|think|>"]
)
def test_thoughts_that_nothing_known_closes_are_refused_by_name(opening) -> None:
    with pytest.raises(
        ModelError, match=r"its chat template opens <.*for the model, where no answer belongs"
    ):
        frame(opening)


def test_what_a_template_writes_before_any_answer_belongs_to_the_prompt() -> None:
    turn = "<|start|>model<|channel|>final<|message|>{{ m['content'] }}<|return|>"
    made = frame("<|start|>model", turn)
    assert made.after == "\n<|start|>model<|channel|>final<|message|>"
    assert (made.answers, made.after_answer, made.notes) == (("good", "bad"), "<|return|>", ())
    made = frame("[model] <think>\n", "[model] <think>\n\n</think>\n\n{{ m['content'] }}")
    assert made.after == "\n[model] <think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    "opening", ["[model] ", "[model] </think>", "<|think_end|>[model] ", "<think></think>"]
)
def test_a_template_that_opens_no_thoughts_is_left_as_it_is(opening) -> None:
    made = frame(opening)
    assert made.after == f"\n{opening}"
    assert made.notes == ()


def test_an_opening_that_no_finished_answer_has_is_said() -> None:
    assert "opens the model's turn with 'Sure:'" in frame("[model] Sure: ").notes[0]


def test_a_mark_with_bars_is_closed_only_as_its_template_spells_it() -> None:
    assert closing_mark("<|think|>", "") is None
    assert closing_mark("<|think|>", "{{ '<|/think|>' }}") == "<|/think|>"


EMPTY_TURNS = (
    "<|start|>model<|channel|>final<|message|>{{ m['content'] }}</s>",
    "{% if not m['content'] %}{{ raise_exception('empty') }}{% endif %}[model] {{ m['content'] }}</s>",
    "{% if m['content'] %}[model] {{ m['content'] }}</s>{% endif %}",
)


@pytest.mark.parametrize("turn", EMPTY_TURNS)
def test_a_written_answer_stands_where_it_was_learnt(turn) -> None:
    opening = "<|start|>model" if "channel" in turn else "[model] "
    learnt, predicted = (frame(opening, turn, answers=answers) for answers in (("", "good"), ("",)))
    assert (learnt.before, learnt.after) == (predicted.before, predicted.after)
    assert learnt.after.endswith("<|message|>" if "channel" in turn else "[model] ")
    assert (learnt.answers, predicted.answers) == (("", "good"), ("",))
    assert learnt.after_answer == predicted.after_answer == "</s>"
