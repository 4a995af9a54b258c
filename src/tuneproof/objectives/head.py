"""A classification head: cross-entropy over labels, an item is one supervised unit.

In: the arm's context. Out: batches, losses, label probabilities, token rows.
Knows nothing of: optimizers, checkpoints, which weights train.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from tuneproof.context.prompt_samples import SAMPLE_ITEMS, prompt_sample
from tuneproof.context.study_data import as_predictions
from tuneproof.data.class_weights import weighted_mean
from tuneproof.data.encode import EncodedTexts
from tuneproof.data.tokens import pad_batch
from tuneproof.inference.classify import class_probabilities
from tuneproof.inference.prediction import Predictions
from tuneproof.models.activation_cache import TokenRow
from tuneproof.objectives.objective import FloatArray, IntArray, ItemObjective, Part
from tuneproof.tasks.task import Example
from tuneproof.train.gradients import LossSum
from tuneproof.train.losses import head_loss


@dataclass
class HeadObjective(ItemObjective):
    """Cross-entropy of a classification head."""

    def encode(self, name: str, examples: Sequence[Example]) -> EncodedTexts:
        """The tokens of a part."""
        return self.context.spec.encode(name, examples, self.context.recipe.encode)

    @cached_property
    def train(self) -> EncodedTexts:
        """The tokens of train."""
        return self.encode(self.context.study.train_name, self.context.splits.train)

    @cached_property
    def labels(self) -> torch.Tensor:
        """Gold label indices [N] of train."""
        return torch.tensor([example.label for example in self.context.splits.train])

    def rows(self, part: str) -> list[TokenRow]:
        """The items' tokens."""
        name = self.context.study.train_name if part == "train" else part
        return [TokenRow(ids) for ids in self.encode(name, self.context.splits.part(part)).ids]

    def collate(self, indices: IntArray) -> Part:
        """Right-padded items with their labels."""
        batch = pad_batch([self.train.ids[i] for i in indices], self.context.spec.pad.id, "right")
        tokens = int(batch["attention_mask"].sum())
        labels = self.labels[torch.as_tensor(indices)]
        weights = unit_weights(self.weights_C, labels.numpy())
        return {**batch, "labels": labels, "tokens": tokens, **weights}

    def count(self, part: Part) -> float:
        """Items, or the sum of their weights."""
        return part.get("weight", len(part["labels"]))

    def loss(self, model: Any, part: Part) -> LossSum:
        """Summed cross-entropy over items."""
        return head_loss(model, self.context.spec.family, part)

    def predict(self, model: Any, examples: Sequence[Example], name: str) -> Predictions:
        """Softmax of the head's logits."""
        context, encoded = self.context, self.encode(name, examples)
        probabilities_NC = class_probabilities(
            model,
            context.spec.family,
            encoded.ids,
            context.spec.pad.id,
            context.batch_size(),
            context.compute.device,
            context.compute.autocast,
            len(context.study.labels),
        )
        return as_predictions(
            context.study.labels, examples, probabilities_NC, encoded.tokens_N, encoded.truncated_N
        )

    def evaluate(self, model: Any, dev: Sequence[Example]) -> dict[str, float]:
        """Loss, weighted as in training, and accuracy on dev."""
        return dev_values(self.predict(model, dev, "dev"), self.weights_C)

    def samples(self) -> list[dict[str, Any]]:
        """Three test items; no token is supervised, the label is the head's."""
        ids = self.encode("test", self.context.splits.test).ids
        examples = self.context.splits.test[:SAMPLE_ITEMS]
        return [prompt_sample(self.context.spec, example, ids[i], None) for i, example in enumerate(examples)]


def unit_weights(weights_C: FloatArray | None, label_S: IntArray) -> Part:
    """The weights of supervised units of these labels, and their sum; empty where all weigh the same.

    The sum is taken on the host, in float64, so that count and loss have the same on every device.
    """
    if weights_C is None:
        return {}
    weights_S = weights_C[label_S]
    return {"weights": torch.from_numpy(weights_S).float(), "weight": float(weights_S.sum())}


def dev_values(predictions: Predictions, weights_C: FloatArray | None = None) -> dict[str, float]:
    """Mean negative log-likelihood of the gold labels (nats), and accuracy.

    weights_C: of the labels in the loss, since it chooses among weights that were trained so; accuracy
    counts every item once.
    """
    assert predictions.probabilities_NC is not None
    gold_N = predictions.probabilities_NC[np.arange(len(predictions)), predictions.gold_N]
    weights_N = None if weights_C is None else weights_C[predictions.gold_N]
    return {
        "dev_loss": weighted_mean(-np.log(np.maximum(gold_N, 1e-12)), weights_N),
        "dev_accuracy": float(predictions.right_N.mean()),
    }
