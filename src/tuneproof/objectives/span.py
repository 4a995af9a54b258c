"""A head over spans: where the answer begins and ends; a window is one supervised unit.

In: the arm's context. Out: batches of windows, losses, answers.
Knows nothing of: optimizers, checkpoints, which weights train.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from tuneproof.context.arm_context import ArmContext
from tuneproof.context.prompt_samples import SAMPLE_ITEMS, prompt_sample
from tuneproof.context.study_data import as_answers
from tuneproof.data.windows import EncodedWindows, collate_windows, encode_windows
from tuneproof.families.family import reads_token_types
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.finite import naming_items
from tuneproof.inference.span import WindowSpans, find_spans, select_answers, span_logits, span_losses
from tuneproof.models.activation_cache import TokenRow
from tuneproof.objectives.objective import IntArray, Part
from tuneproof.score.threshold import best_threshold
from tuneproof.tasks.task import Example
from tuneproof.train.gradients import LossSum


@dataclass
class SpanObjective:
    """Cross-entropy of where the answer begins and ends."""

    context: ArmContext
    _encoded: dict[str, EncodedWindows] = field(default_factory=dict, repr=False)

    def encode(self, name: str, examples: Sequence[Example]) -> EncodedWindows:
        """The windows of a part."""
        if name not in self._encoded:
            spec, stride = self.context.spec, self.context.recipe.encode.stride
            encoded = encode_windows(spec.tokenizer, spec.family, examples, spec.max_length, stride)
            if not reads_token_types(spec.config):
                windows = [replace(window, token_types=None) for window in encoded.windows]
                encoded = replace(encoded, windows=windows)
            self._encoded[name] = encoded
        return self._encoded[name]

    @cached_property
    def train(self) -> EncodedWindows:
        """The windows of train."""
        return self.encode(self.context.study.train_name, self.context.splits.train)

    @property
    def lengths(self) -> IntArray:
        """Tokens of every train window."""
        return self.train.lengths_W

    @property
    def item_ids(self) -> list[str]:
        """The question of every train window."""
        return [self.context.splits.train[window.item].id for window in self.train.windows]

    def rows(self, part: str) -> list[TokenRow]:
        """The part's windows."""
        name = self.context.study.train_name if part == "train" else part
        encoded = self.encode(name, self.context.splits.part(part))
        return [TokenRow(window.ids, window.token_types) for window in encoded.windows]

    def collate(self, indices: IntArray) -> Part:
        """Right-padded windows with where the gold answers begin and end."""
        part = collate_windows([self.train.windows[i] for i in indices], self.context.spec.pad.id)
        return {**part, "tokens": int(part["attention_mask"].sum())}

    def count(self, part: Part) -> int:
        """Windows."""
        return len(part["start"])

    def loss(self, model: Any, part: Part) -> LossSum:
        """Summed cross-entropy over windows."""
        losses_B = span_losses(span_logits(model, part), part)
        return LossSum(losses_B.sum(), len(losses_B), part["tokens"])

    def predict(self, model: Any, examples: Sequence[Example], name: str) -> AnswerPredictions:
        """One answer a question over all its windows."""
        encoded = self.encode(name, examples)
        return self._answers(self._spans(model, encoded, examples), encoded, examples)

    def evaluate(self, model: Any, dev: Sequence[Example]) -> dict[str, float]:
        """Mean loss of dev's windows (nats), and F1 at dev's best threshold."""
        encoded = self.encode("dev", dev)
        spans = self._spans(model, encoded, dev)
        answers = self._answers(spans, encoded, dev)
        return {"dev_loss": float(spans.loss_W.mean()), "dev_f1": best_threshold(answers).f1}

    def _spans(self, model: Any, encoded: EncodedWindows, examples: Sequence[Example]) -> WindowSpans:
        context = self.context
        with naming_items(examples):
            return find_spans(
                model,
                encoded.windows,
                context.spec.pad.id,
                context.batch_size().count_items(len(encoded.windows), len(examples)),
                context.compute.device,
                context.compute.autocast,
                context.recipe.encode.answer_tokens,
            )

    def _answers(
        self, spans: WindowSpans, encoded: EncodedWindows, examples: Sequence[Example]
    ) -> AnswerPredictions:
        best = select_answers(spans, encoded, examples)
        return as_answers(
            examples,
            best.answers,
            best.null_N,
            best.score_N,
            encoded.tokens_N,
            encoded.split_N,
            encoded.outside_N,
            best.nbest,
        )

    def samples(self) -> list[dict[str, Any]]:
        """Three train windows; the gold's tokens, or the null slot, are marked."""
        samples = []
        for window in self.train.windows[:SAMPLE_ITEMS]:
            positions_T = np.arange(len(window.ids))
            gold_T = (positions_T >= window.gold_positions[0]) & (positions_T <= window.gold_positions[1])
            example = self.context.splits.train[window.item]
            samples.append(prompt_sample(self.context.spec, example, window.ids, gold_T))
        return samples
