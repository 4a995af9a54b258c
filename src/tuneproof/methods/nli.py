"""Zero-shot by entailment: a model of natural language inference judges a hypothesis for each label.

In: options. Out: the catalog entry. Knows nothing of: how the model is loaded or scores pairs.
"""

from pydantic import Field

from tuneproof.methods.method import Method
from tuneproof.methods.options import FinishedModelOptions


class NliOptions(FinishedModelOptions):
    """Settings of zero-shot by entailment; one of the model's outputs is named entailment."""

    hypothesis: str = Field(
        "This text is {label}.",
        min_length=1,
        description="The hypothesis of a label; {label} stands for the label's words.",
    )


NLI = Method(
    name="nli",
    kind="finished",
    title="zero-shot: the label whose hypothesis a model of inference finds entailed",
    options=NliOptions,
    chance=False,
    paper="Yin, Hay and Roth 2019, arXiv:1909.00161",
    differs="A label's score is the logit of entailment; probabilities are their softmax over labels.",
)
