"""The label's words after a prompt: cross-entropy over their tokens, a token is one supervised unit.

In: the arm's context. Out: batches, losses, label probabilities from the words' likelihood, token rows.
Knows nothing of: optimizers, checkpoints, which weights train.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tuneproof.context.arm_context import ArmContext
from tuneproof.context.prompt_encoding import encode_label_prompts
from tuneproof.context.prompt_samples import SAMPLE_ITEMS, prompt_sample
from tuneproof.context.study_data import as_predictions
from tuneproof.data.encode import EncodedAnswers, EncodedCloze, EncodedPrompts, encode_answers
from tuneproof.inference.label_likelihood import probabilities, score_cloze, score_labels, scored_rows
from tuneproof.inference.prediction import Predictions
from tuneproof.models.activation_cache import TokenRow
from tuneproof.models.lm_logits import MAX_PIECE_TOKENS
from tuneproof.models.resume_log import ResumeLog
from tuneproof.objectives.answers import collate_answers
from tuneproof.objectives.head import dev_values, unit_weights
from tuneproof.objectives.objective import FloatArray, IntArray, ItemObjective, Part
from tuneproof.tasks.task import Example
from tuneproof.train.gradients import LossSum
from tuneproof.train.losses import answer_loss


@dataclass
class LabelWordsObjective(ItemObjective):
    """Cross-entropy of the gold label's words after the prompt."""

    _prompts: dict[str, EncodedPrompts] = field(default_factory=dict, repr=False)

    @cached_property
    def train(self) -> EncodedAnswers:
        """The tokens of train, the answers marked."""
        train = self.context.splits.train
        return encode_answers(encode_label_prompts(self.context.study, self.context.spec, train, ()), train)

    def encode(self, name: str, examples: Sequence[Example]) -> EncodedPrompts:
        """A part's prompts with every label's words."""
        if name not in self._prompts:
            self._prompts[name] = encode_label_prompts(self.context.study, self.context.spec, examples, ())
        return self._prompts[name]

    def rows(self, part: str) -> list[TokenRow]:
        """Prompts with the gold label's words; of dev and test with each label's but its last token."""
        if part == "train":
            return [TokenRow(ids) for ids in self.train.ids]
        prompts = self.encode(part, self.context.splits.part(part))
        return [TokenRow(ids) for ids in scored_rows(prompts) if len(ids) <= MAX_PIECE_TOKENS]

    def collate(self, indices: IntArray) -> Part:
        """Left-padded rows, so that the answers end every row; a token weighs as its item's label does."""
        part = collate_answers(self.train, indices, self.context.spec.pad.id)
        if self.weights_C is None:
            return part
        train = self.context.splits.train
        label_S = [train[i].label for i in indices for _ in range(int(self.train.supervised[i].sum()))]
        return part | unit_weights(self.weights_C, np.array(label_S))

    def count(self, part: Part) -> float:
        """Tokens of answers, or the sum of their weights."""
        return part.get("weight", len(part["answers"]))

    def loss(self, model: Any, part: Part) -> LossSum:
        """Summed cross-entropy over the answers' tokens; no other logits are computed."""
        return answer_loss(model, part)

    def predict(self, model: Any, examples: Sequence[Example], name: str) -> Predictions:
        """The labels' shares of their words' likelihood."""
        prompts = self.encode(name, examples)
        shares_NC = probabilities(label_scores(self.context, model, prompts))
        labels = self.context.study.labels
        return as_predictions(labels, examples, shares_NC, prompts.tokens_N, prompts.truncated_N)

    def evaluate(self, model: Any, dev: Sequence[Example]) -> dict[str, float]:
        """Loss, weighted as in training, and accuracy on dev."""
        return dev_values(self.predict(model, dev, "dev"), self.weights_C)

    def samples(self) -> list[dict[str, Any]]:
        """Three train items, the supervised tokens marked."""
        return [
            prompt_sample(self.context.spec, example, self.train.ids[i], self.train.supervised[i])
            for i, example in enumerate(self.context.splits.train[:SAMPLE_ITEMS])
        ]


def label_scores(
    context: ArmContext,
    model: Any,
    encoded: EncodedPrompts | EncodedCloze,
    resume_log: ResumeLog | None = None,
) -> FloatArray:
    """Log-likelihoods [N, C] of the labels' words."""
    score: Any = score_cloze if isinstance(encoded, EncodedCloze) else score_labels
    with context.compute.autocast():
        return score(
            model, encoded, context.spec.pad.id, context.batch_size(resume_log), context.compute.device
        )
