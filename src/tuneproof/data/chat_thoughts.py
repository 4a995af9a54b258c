"""Blocks of thoughts that a chat template opens before an answer, and how they are switched off or closed.

In: a template, the prompt that it wrote. Out: settings for the template, the open mark, what closes it.
Knows nothing of: tokenizers, labels, how a template is rendered.

An answer that is scored or learnt inside an open block stands where the model never writes one.
"""

import re

# What templates call the setting that leaves thoughts out.
SWITCHES = ("enable_thinking", "thinking", "enable_reasoning")
_THOUGHTS = "(?:think|thought|reason|analysis|reflect|scratchpad)"
_MARKS = re.compile(
    rf"[<\[◁][^<>\[\]◁▷\s]*{_THOUGHTS}[^<>\[\]◁▷\s]*[>\]▷]"  # <think>, [/THINK], <|END_THINKING|>
    r"|<\|channel\|?>\s*\w+|<channel\|>|<\|end\|>",
    re.IGNORECASE,
)
_CLOSES = re.compile(r"\W/|end|stop|clos|<channel\|>|<\|channel\|>\s*final", re.IGNORECASE)


def switches_off(template: str) -> dict[str, bool]:
    """The settings by which this template is asked for an answer without thoughts."""
    return {name: False for name in SWITCHES if re.search(rf"\b{name}\b", template)}


def has_marks(text: str) -> bool:
    """Whether a text opens or closes thoughts anywhere."""
    return _MARKS.search(text) is not None


def open_mark(text: str) -> str | None:
    """The last mark of thoughts in a text if nothing closes it; None: there is none."""
    mark = None
    for match in _MARKS.finditer(text):
        mark = None if _CLOSES.search(match[0]) else match[0]
    return mark


def closing_mark(mark: str, template: str) -> str | None:
    """What closes a mark, by the usual spelling or as the template spells it; None: it is not known."""
    if re.fullmatch(r"[<\[◁][^|]*[>\]▷]", mark):
        return f"{mark[0]}/{mark[1:]}"
    other = re.sub("start|begin", "end", re.sub("START|BEGIN", "END", mark), flags=re.IGNORECASE)
    candidates = (other, mark.replace("<|", "<|/"), mark.replace("<|", "<|end_"), mark.replace("<|", "</|"))
    return next((closer for closer in candidates if closer != mark and closer in template), None)
