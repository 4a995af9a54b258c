"""The interface of an objective: what a tuned model learns from and how it predicts.

In: nothing. Out: the protocol that every objective fulfils, and what those with a train row an item share.
Knows nothing of: optimizers, checkpoints, which weights train.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from numpy import float64, int64
from numpy.typing import NDArray

from tuneproof.context.arm_context import ArmContext
from tuneproof.data.encode import EncodedAnswers, EncodedTexts
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
    def item_ids(self) -> Sequence[str]:
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


@dataclass(frozen=True, eq=False)
class ItemIds(Sequence[str]):
    """The ids of items, each read when it is needed."""

    items: Sequence[Example]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index].id


@dataclass
class ItemObjective:
    """The train rows of an objective in which every train item is one."""

    context: ArmContext

    @cached_property
    def train(self) -> EncodedTexts | EncodedAnswers:
        """The tokens of train."""
        raise NotImplementedError

    @property
    def lengths(self) -> IntArray:
        """Tokens of every train item."""
        return self.train.tokens_N

    @property
    def item_ids(self) -> Sequence[str]:
        """The train items."""
        return ItemIds(self.context.splits.train)

    @cached_property
    def weights_C(self) -> FloatArray | None:
        """The weights of the labels; None: all weigh the same."""
        return self.context.study.class_weights_C
