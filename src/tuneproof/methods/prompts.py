"""Zero-shot and few-shot: ask the pretrained model, train nothing.

In: options. Out: how many examples stand in the prompt.
Knows nothing of: how an answer is scored.
"""

from typing import Any

from pydantic import Field

from tuneproof.methods.method import Method, PromptOptions


class FewShotOptions(PromptOptions):
    """Settings of few-shot."""

    shots: int = Field(
        4, ge=1, le=256, description="Examples in the prompt, drawn from train, balanced by label."
    )


def no_shots(options: Any) -> int:
    """Zero-shot has none."""
    return 0


def asked_shots(options: Any) -> int:
    """As many as the recipe asks for."""
    return int(options.shots)


ZERO_SHOT = Method(
    name="zero-shot",
    kind="prompt",
    title="the pretrained model, asked by a prompt",
    options=PromptOptions,
    chance=False,
    paper="Brown et al. 2020, arXiv:2005.14165; for encoders Schick and Schuetze 2021, arXiv:2001.07676",
    differs="Scores are contextually calibrated unless the recipe says otherwise.",
    shots=no_shots,
)
FEW_SHOT = Method(
    name="few-shot",
    kind="prompt",
    title="the pretrained model, asked with examples from train",
    options=FewShotOptions,
    chance=True,
    paper="Brown et al. 2020, arXiv:2005.14165",
    differs="Shots are drawn once a seed, balanced by label, never equal to an item.",
    shots=asked_shots,
)
