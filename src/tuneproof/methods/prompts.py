"""Zero-shot and few-shot: prompt the pretrained model, train nothing.

In: options. Out: the number of examples in the prompt. Knows nothing of: how an answer is scored.
"""

from typing import Any

from pydantic import Field

from tuneproof.methods.method import Method
from tuneproof.methods.options import PromptOptions, StudyModelOptions


class ZeroShotOptions(StudyModelOptions, PromptOptions):
    """Settings of zero-shot."""


class FewShotOptions(StudyModelOptions, PromptOptions):
    """Settings of few-shot."""

    shots: int = Field(
        4, ge=1, le=256, description="Examples in the prompt, drawn from train, balanced by label."
    )


def no_shots(options: Any) -> int:
    """Zero-shot has none."""
    return 0


def shots_from_options(options: FewShotOptions) -> int:
    """As many as the recipe sets."""
    return options.shots


ZERO_SHOT = Method(
    name="zero-shot",
    kind="prompt",
    title="the pretrained model, prompted without examples",
    options=ZeroShotOptions,
    chance=False,
    paper="Brown et al. 2020, arXiv:2005.14165; for encoders Schick and Schuetze 2021, arXiv:2001.07676",
    differs="Scores are contextually calibrated unless the recipe says otherwise.",
    shots=no_shots,
)
FEW_SHOT = Method(
    name="few-shot",
    kind="prompt",
    title="the pretrained model, prompted with examples from train",
    options=FewShotOptions,
    chance=True,
    paper="Brown et al. 2020, arXiv:2005.14165",
    differs="Shots are drawn once for each seed, balanced by label, and never equal an item.",
    shots=shots_from_options,
)
