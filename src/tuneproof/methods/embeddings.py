"""Logistic regression on the unit vectors of a frozen sentence encoder.

In: options. Out: the catalog entry. Knows nothing of: how vectors are computed.
"""

from typing import Literal

from pydantic import Field

from tuneproof.methods.head import fit_logistic_head
from tuneproof.methods.method import Method
from tuneproof.methods.options import PoolingOption, StrengthsOption


class EmbeddingsOptions(StrengthsOption, PoolingOption):
    """Settings of embeddings."""

    pooling: Literal["unit-mean", "auto", "first", "mean", "last"] = Field(
        "unit-mean",
        description="unit-mean: the mean of the hidden states, scaled to length 1, as most sentence encoders "
        "are trained; others as for head.",
    )


EMBEDDINGS = Method(
    name="embeddings",
    kind="tuned",
    title="logistic regression on the unit vectors of a frozen sentence encoder",
    options=EmbeddingsOptions,
    chance=False,
    paper="Reimers and Gurevych 2019, arXiv:1908.10084; scikit-learn's LogisticRegression",
    differs="The L2 strength is chosen on dev.",
    fit_head=fit_logistic_head,
)
