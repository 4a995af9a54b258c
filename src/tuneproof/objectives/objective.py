"""What a tuned model is trained on and asked for: a head over labels, or the labels' words.

In: what all arms share, a ready model. Out: batches, losses, label probabilities, rows.
Knows nothing of: optimizers, checkpoints, which weights train.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.context.model_spec import Compute, Ready
from tuneproof.context.monitor import Running
from tuneproof.context.progress import advancing, under
from tuneproof.context.prompt_samples import SHOWN_ITEMS, shown_item
from tuneproof.context.study_data import Shared, as_predictions
from tuneproof.data.encode import (
    Encoded,
    EncodedAnswers,
    EncodedCloze,
    EncodedPrompts,
    encode_answers,
    encode_prompts,
)
from tuneproof.data.tokens import pad_batch
from tuneproof.inference.classify import class_probabilities
from tuneproof.inference.label_likelihood import (
    empty_scores,
    probabilities,
    score_cloze,
    score_labels,
    scored_rows,
)
from tuneproof.inference.prediction import Predictions
from tuneproof.models.activation_cache import Row
from tuneproof.models.lm_logits import MOST_TOKENS
from tuneproof.models.oom import AtOnce
from tuneproof.models.resume_log import Journal
from tuneproof.objectives.answers import AnswerObjective, collate_answers
from tuneproof.objectives.span import SpanObjective
from tuneproof.tasks.task import Example
from tuneproof.train.gradients import LossSum
from tuneproof.train.losses import head_loss, words_loss

Part = dict[str, Any]


class Objective(Protocol):
    """What the training of an arm needs, whichever its objective."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every row of train."""

    @property
    def unit_ids(self) -> list[str]:
        """The item of every row of train."""

    def rows(self, part: str) -> list[Row]:
        """The rows of train, dev or test as the model reads them, those that it reads whole."""

    def collate(self, chosen: NDArray[np.int64]) -> Part:
        """One micro-batch of train, on the host."""

    def loss(self, model: Any, part: Part) -> LossSum:
        """Summed negative log-likelihood over the supervised units of a micro-batch."""

    def count(self, part: Part) -> int:
        """Supervised units of a micro-batch."""

    def ask(self, model: Any, examples: Sequence[Example], name: str) -> Running[Any]:
        """What the model says to the items of a part. Returns their predictions."""

    def measure(self, model: Any, dev: Sequence[Example]) -> Running[dict[str, float]]:
        """How well it does on dev: dev_loss, which chooses, and what stands beside it."""

    def shown(self) -> list[dict[str, Any]]:
        """Three items as the model sees them."""


@dataclass
class HeadObjective:
    """Cross-entropy of a classification head; an item is one supervised unit."""

    shared: Shared
    ready: Ready
    compute: Compute

    @cached_property
    def train(self) -> Encoded:
        """The tokens of train."""
        return self.encode(self.shared.train_name, self.shared.splits.train)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every item of train."""
        return self.train.tokens_N

    @property
    def unit_ids(self) -> list[str]:
        """The items of train."""
        return [example.id for example in self.shared.splits.train]

    def measure(self, model: Any, dev: Sequence[Example]) -> Running[dict[str, float]]:
        """Loss and accuracy on dev."""
        return dev_values((yield from self.ask(model, dev, "dev")))

    @cached_property
    def gold(self) -> torch.Tensor:
        """Labels of train."""
        return torch.tensor([example.label for example in self.shared.splits.train])

    def encode(self, name: str, examples: Sequence[Example]):
        """The part's tokens, shared by the arms of this model."""
        return self.ready.encode(name, examples, self.shared.recipe.encode)

    def rows(self, part: str) -> list[Row]:
        """The items' texts."""
        if part == "train":
            return [Row(ids) for ids in self.train.ids]
        return [Row(ids) for ids in self.encode(part, self.shared.splits.part(part)).ids]

    def collate(self, chosen: NDArray[np.int64]) -> Part:
        """Right-padded rows and their labels."""
        batch = pad_batch([self.train.ids[i] for i in chosen], self.ready.pad.id, "right")
        tokens = int(batch["attention_mask"].sum())
        return {**batch, "labels": self.gold[torch.as_tensor(chosen)], "tokens": tokens}

    def count(self, part: Part) -> int:
        """Items."""
        return len(part["labels"])

    def loss(self, model: Any, part: Part) -> LossSum:
        """Summed cross-entropy over items."""
        return head_loss(model, self.ready.family, part)

    def ask(self, model: Any, examples: Sequence[Example], name: str) -> Running[Predictions]:
        """Softmax of the head's logits. Returns the Predictions."""
        encoded = self.encode(name, examples)
        into_NC = np.zeros((len(examples), len(self.shared.labels)))
        at_once = AtOnce(self.shared.recipe.predict.batch_size)
        steps = class_probabilities(
            model,
            self.ready.family,
            encoded.ids,
            self.ready.pad.id,
            at_once,
            self.compute.device,
            self.compute.autocast,
            into_NC,
        )
        yield from advancing(steps, at_once)
        return as_predictions(self.shared.labels, examples, into_NC, encoded.tokens_N, encoded.truncated_N)

    def shown(self) -> list[dict[str, Any]]:
        """Three test items; no token is supervised, the label is the head's."""
        examples = self.shared.splits.test[:SHOWN_ITEMS]
        encoded = self.encode("test", self.shared.splits.test)
        return [
            shown_item(self.ready, example, encoded.ids[place], None)
            for place, example in enumerate(examples)
        ]


@dataclass
class WordsObjective:
    """Cross-entropy of the gold label's words after the prompt; a token is one supervised unit."""

    shared: Shared
    ready: Ready
    compute: Compute
    shots: Sequence[Example] = ()

    @cached_property
    def train(self) -> EncodedAnswers:
        """The tokens of train, the answers marked."""
        return encode_answers(
            self.ready.tokenizer,
            self.ready.family,
            self.shared.prompt,
            self.shared.splits.train,
            self.shots,
            self.ready.max_length,
            self.shared.recipe.encode.truncate,
            self.shared.recipe.encode.chat,
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every item of train."""
        return self.train.tokens_N

    @property
    def unit_ids(self) -> list[str]:
        """The items of train."""
        return [example.id for example in self.shared.splits.train]

    def measure(self, model: Any, dev: Sequence[Example]) -> Running[dict[str, float]]:
        """Loss and accuracy on dev."""
        return dev_values((yield from self.ask(model, dev, "dev")))

    @cached_property
    def _prompts(self) -> dict[str, EncodedPrompts]:
        return {}

    def encode(self, name: str, examples: Sequence[Example]) -> EncodedPrompts:
        """The part's prompts with every label's words."""
        if name not in self._prompts:
            self._prompts[name] = encode_prompts(
                self.ready.tokenizer,
                self.ready.family,
                self.shared.prompt,
                examples,
                self.shots,
                self.ready.max_length,
                self.shared.recipe.encode.truncate,
                self.shared.recipe.encode.chat,
            )
        return self._prompts[name]

    def rows(self, part: str) -> list[Row]:
        """Prompts with the gold label's words; of dev and test with each label's but its last token."""
        if part == "train":
            return [Row(ids) for ids in self.train.ids]
        prompts = self.encode(part, self.shared.splits.part(part))
        return [Row(ids) for ids in scored_rows(prompts) if len(ids) <= MOST_TOKENS]

    def collate(self, chosen: NDArray[np.int64]) -> Part:
        """Left-padded rows, so that the answers end every row."""
        return collate_answers(self.train, chosen, self.ready.pad.id)

    def count(self, part: Part) -> int:
        """Tokens of answers."""
        return len(part["answers"])

    def loss(self, model: Any, part: Part) -> LossSum:
        """Summed cross-entropy over the answers' tokens; no other logits are computed."""
        return words_loss(model, part)

    def ask(self, model: Any, examples: Sequence[Example], name: str) -> Running[Predictions]:
        """The labels' shares of their words' likelihood. Returns the Predictions."""
        prompts = self.encode(name, examples)
        size = self.shared.recipe.predict.batch_size
        scores_NC = yield from scored(model, prompts, self.ready, self.compute, size)
        return as_predictions(
            self.shared.labels, examples, probabilities(scores_NC), prompts.tokens_N, prompts.truncated_N
        )

    def shown(self) -> list[dict[str, Any]]:
        """Three train items, the supervised tokens marked."""
        return [
            shown_item(self.ready, example, self.train.ids[place], self.train.supervised[place])
            for place, example in enumerate(self.shared.splits.train[:SHOWN_ITEMS])
        ]


def scored(
    model: Any,
    encoded: EncodedPrompts | EncodedCloze,
    ready: Ready,
    compute: Compute,
    batch_size: int,
    kept: Journal | None = None,
) -> Running[NDArray[np.float64]]:
    """Log-likelihoods of the labels' words, with progress. Returns scores [N, C]."""
    scores_NC = empty_scores(encoded)
    pad, device, at_once = ready.pad.id, compute.device, AtOnce(batch_size, kept=kept)
    if isinstance(encoded, EncodedCloze):
        steps = score_cloze(model, encoded, pad, at_once, device, scores_NC)
    else:
        steps = score_labels(model, encoded, pad, at_once, device, scores_NC)
    yield from advancing(under(compute, steps), at_once)
    return scores_NC


def make_objective(name: str, shared: Shared, ready: Ready, compute: Compute) -> Objective:
    """The objective that the arm's options name, for the task's kind."""
    if shared.kind == "questions":
        kinds: dict[str, Any] = {"head": SpanObjective, "words": AnswerObjective}
    else:
        kinds = {"head": HeadObjective, "words": WordsObjective}
    return kinds[name](shared, ready, compute)


def dev_values(predictions: Predictions) -> dict[str, float]:
    """Mean negative log-likelihood of the gold labels (nats), and accuracy."""
    assert predictions.probabilities_NC is not None
    gold_N = predictions.probabilities_NC[np.arange(len(predictions)), predictions.gold_N]
    return {
        "dev_loss": float(-np.log(np.maximum(gold_N, 1e-12)).mean()),
        "dev_accuracy": float(predictions.right_N.mean()),
    }
