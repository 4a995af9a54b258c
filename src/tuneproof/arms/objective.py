"""What a tuned model is trained on and asked for: a head over labels, or the labels' words.

In: what all arms share, a ready model. Out: batches, losses, label probabilities, rows.
Knows nothing of: optimizers, checkpoints, which weights train.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.arms.event import Advanced, Running, Said
from tuneproof.arms.ready import Compute, Ready
from tuneproof.arms.shared import Shared, as_predictions
from tuneproof.data.encode import (
    Encoded,
    EncodedAnswers,
    EncodedCloze,
    EncodedPrompts,
    encode_answers,
    encode_prompts,
)
from tuneproof.data.tokens import pad_batch, show_tokens
from tuneproof.model.shortage import AtOnce
from tuneproof.predict.choose import empty_scores, probabilities, score_cloze, score_labels
from tuneproof.predict.classify import class_probabilities
from tuneproof.predict.prediction import Predictions
from tuneproof.tasks.task import Example
from tuneproof.train.gradients import LossSum
from tuneproof.train.losses import head_loss, words_loss

SHOWN_ITEMS = 3
Part = dict[str, Any]


class Objective(Protocol):
    """What the training of an arm needs, whichever its objective."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every item of train."""

    def collate(self, chosen: NDArray[np.int64]) -> Part:
        """One micro-batch of train, on the host."""

    def loss(self, model: Any, part: Part) -> LossSum:
        """Summed negative log-likelihood over the supervised units of a micro-batch."""

    def count(self, part: Part) -> int:
        """Supervised units of a micro-batch."""

    def ask(self, model: Any, examples: Sequence[Example], name: str) -> Running[Predictions]:
        """Label probabilities of a part. Returns the Predictions."""

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

    @cached_property
    def gold(self) -> torch.Tensor:
        """Labels of train."""
        return torch.tensor([example.label for example in self.shared.splits.train])

    def encode(self, name: str, examples: Sequence[Example]):
        """The part's tokens, shared by the arms of this model."""
        return self.ready.encode(name, examples, self.shared.recipe.encode)

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
            model, self.ready.family, encoded.ids, self.ready.pad.id,
            at_once, self.compute.device, self.compute.autocast, into_NC,
        )  # fmt: skip
        yield from advancing(steps, at_once)
        return as_predictions(
            self.shared.labels, examples, into_NC, encoded.tokens_N, encoded.truncated_N
        )

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
            self.ready.tokenizer, self.ready.family, self.shared.prompt, self.shared.splits.train,
            self.shots, self.ready.max_length, self.shared.recipe.encode.truncate,
            self.shared.recipe.encode.chat,
        )  # fmt: skip

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every item of train."""
        return self.train.tokens_N

    @cached_property
    def _prompts(self) -> dict[str, EncodedPrompts]:
        return {}

    def encode(self, name: str, examples: Sequence[Example]) -> EncodedPrompts:
        """The part's prompts with every label's words."""
        if name not in self._prompts:
            self._prompts[name] = encode_prompts(
                self.ready.tokenizer, self.ready.family, self.shared.prompt, examples, self.shots,
                self.ready.max_length, self.shared.recipe.encode.truncate,
                self.shared.recipe.encode.chat,
            )  # fmt: skip
        return self._prompts[name]

    def collate(self, chosen: NDArray[np.int64]) -> Part:
        """Left-padded rows, so that the answers end every row; `words_loss` says what else."""
        batch = pad_batch([self.train.ids[i] for i in chosen], self.ready.pad.id, "left")
        answers = [self.train.ids[i][self.train.supervised[i]] for i in chosen]
        keep = max(map(len, answers)) + 1  # the token before an answer predicts its first
        places = [
            row * keep + keep - 1 - len(answer) + step
            for row, answer in enumerate(answers)
            for step in range(len(answer))
        ]
        return {
            **batch,
            "answers": torch.from_numpy(np.concatenate(answers)),
            "places": torch.tensor(places, dtype=torch.long),
            "keep": keep,
            "tokens": int(batch["attention_mask"].sum()),
        }

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
            self.shared.labels,
            examples,
            probabilities(scores_NC),
            prompts.tokens_N,
            prompts.truncated_N,
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
) -> Running[NDArray[np.float64]]:
    """Log-likelihoods of the labels' words, with progress. Returns scores [N, C]."""
    scores_NC = empty_scores(encoded)
    pad, device, at_once = ready.pad.id, compute.device, AtOnce(batch_size)
    if isinstance(encoded, EncodedCloze):
        steps = score_cloze(model, encoded, pad, at_once, device, scores_NC)
    else:
        steps = score_labels(model, encoded, pad, at_once, device, scores_NC)
    yield from advancing(under(compute, steps), at_once)
    return scores_NC


def under(compute: Compute, steps: Iterator[int]) -> Iterator[int]:
    """The same steps, each in the precision of the study."""
    while True:
        with compute.autocast():
            done = next(steps, None)
        if done is None:
            return
        yield done


def advancing(steps: Iterator[int], at_once: AtOnce) -> Running[None]:
    """Progress of a prediction, and what there is to say where memory ran out."""
    told = 0
    for done in steps:
        for size in at_once.too_many[told:]:
            text = (
                f"Memory ran out while predicting {size} items at once; half as many are predicted "
                "at once from here on. The predictions are the same."
            )
            yield Said(text, "warning", noted=True)
        told = len(at_once.too_many)
        yield Advanced(done)


def shown_item(ready: Ready, example: Example, ids: Any, supervised: Any) -> dict[str, Any]:
    """One item as the model sees it: its tokens, and which of them the loss sees."""
    tokens = show_tokens(ready.tokenizer, ids, supervised)
    return {
        "id": example.id,
        "text": ready.tokenizer.decode([int(i) for i in ids]),
        "tokens": [token.token for token in tokens],
        "supervised": [token.supervised for token in tokens],
    }


def make_objective(
    name: str, shared: Shared, ready: Ready, compute: Compute
) -> HeadObjective | WordsObjective:
    """The objective that the arm's options name."""
    if name == "head":
        return HeadObjective(shared, ready, compute)
    return WordsObjective(shared, ready, compute)


def encoding_of(predictions: Predictions, max_length: int) -> dict[str, Any]:
    """What the record says about the encoding of the test items."""
    return {
        "max_length": max_length,
        "truncated_items": int(predictions.truncated_N.sum()),
        "items": len(predictions),
        "longest_tokens": int(predictions.tokens_N.max()),
        "mean_tokens": float(predictions.tokens_N.mean()),
    }
