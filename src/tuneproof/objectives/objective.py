"""The interface of an objective: what a tuned model learns from and how it predicts.

In: nothing. Out: the protocol that every objective fulfils.
Knows nothing of: optimizers, checkpoints, which weights train.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from numpy import float64, int64
from numpy.typing import NDArray

from tuneproof.models.activation_cache import TokenRow
from tuneproof.tasks.task import Example
from tuneproof.train.gradients import LossSum

Part = dict[str, Any]
IntArray = NDArray[int64]
FloatArray = NDArray[float64]


class Objective(Protocol):
    """What training an arm needs, whichever its objective."""

    @property
    def lengths(self) -> IntArray:
        """Tokens of every train row."""

    @property
    def item_ids(self) -> list[str]:
        """The item of every train row."""

    def rows(self, part: str) -> list[TokenRow]:
        """The token rows of train, dev or test that the model reads whole."""

    def collate(self, indices: IntArray) -> Part:
        """One micro-batch of train rows, on the host."""

    def loss(self, model: Any, part: Part) -> LossSum:
        """Summed negative log-likelihood over the supervised units of a micro-batch."""

    def count(self, part: Part) -> float:
        """Supervised units of a micro-batch; where classes have weights, the sum of theirs."""

    def predict(self, model: Any, examples: Sequence[Example], name: str) -> Any:
        """Predictions of a part's items; `name` is what the part is called."""

    def evaluate(self, model: Any, dev: Sequence[Example]) -> dict[str, float]:
        """dev_loss, by which checkpoints are chosen, and what is reported beside it."""

    def samples(self) -> list[dict[str, Any]]:
        """Three items as the model sees them."""
