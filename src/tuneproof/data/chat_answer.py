"""A chat prompt up to where an answer stands: behind what the template writes first, outside thoughts.

In: a tokenizer, turns, the same turns with their answers. Out: the prompt, and what was done to it.
Knows nothing of: labels, tokens, truncation.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from tuneproof.data.chat import chat_template, render_chat
from tuneproof.data.chat_thoughts import closing_mark, has_marks, open_mark, switches_off
from tuneproof.errors import ModelError


def open_answer(
    tokenizer: Any, turns: list[dict[str, str]], slot: str, answered: Sequence[str], answers: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """The prompt as the template opens the model's turn, continued until an answer can follow; notes.

    `slot` stands for the user's text; `answered` are the turns with each of the answers.

    Raises: ModelError where the template opens thoughts that nothing known closes.
    """
    prompt = render_chat(tokenizer, turns, answer_follows=True)
    notes = []
    template = chat_template(tokenizer)
    if switches_off(template) and prompt != render_chat(tokenizer, turns, True, thoughts=True):
        switch = ", ".join(f"{name}=False" for name in switches_off(template))
        notes.append(f"its chat template is called with {switch}, so that answers stand outside thoughts.")
    prompt += _before_answers(prompt, answered, answers)
    opening = prompt.rpartition(slot)[2]
    mark = open_mark(opening)
    if mark is not None:
        closer = closing_mark(mark, template)
        if closer is None:
            problem = f"its chat template opens {mark} for the model, where no answer belongs."
            do = "Set encode.chat: never, or change the chat template so that it closes it."
            raise ModelError("tokenizer", problem, do=do)
        line_end = "\n" if prompt.endswith("\n") else ""
        prompt += f"{line_end}{closer}{line_end * 2}"
        notes.append(f"its chat template opens {mark} for the model; {closer} closes it before the answer.")
    elif not has_marks(opening):
        notes += _unusual_opening(prompt, answered)
    return prompt, tuple(notes)


def _before_answers(prompt: str, answered: Sequence[str], answers: Sequence[str]) -> str:
    """What the template writes between the opening of the model's turn and any answer, without its spaces."""
    rests = [text.removeprefix(prompt) for text in answered if text.startswith(prompt)]
    if len(rests) < len(answers) or not rests:
        return ""
    leads = {rest[: rest.find(answer)] for rest, answer in zip(rests, answers, strict=True) if answer in rest}
    for lead in sorted(leads, key=len, reverse=True):
        if all(rest.startswith(lead + answer) for rest, answer in zip(rests, answers, strict=True)):
            return lead.rstrip(" ") if lead.strip() else ""
    return ""


def _unusual_opening(prompt: str, answered: Sequence[str]) -> list[str]:
    """What to say where the opening of the model's turn is not how the template writes a finished one."""
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(prompt, "".join(answered[:1]), strict=False))
    extra = prompt[sum(1 for _ in shared) :].strip()
    if not extra:
        return []
    return [f"its chat template opens the model's turn with {extra!r}, which no finished turn begins with."]
