"""A head over spans: what it is trained on and how it answers.

In: what all arms share, a ready model. Out: batches of windows, losses, answers.
Knows nothing of: optimizers, checkpoints, which weights train.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.context.model_spec import Compute, Ready
from tuneproof.context.monitor import Running
from tuneproof.context.progress import advancing, as_items
from tuneproof.context.prompt_samples import SHOWN_ITEMS, shown_item
from tuneproof.context.study_data import Shared, as_answers
from tuneproof.data.windows import Windows, collate_windows, encode_windows
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.span import SpansFound, find_spans, one_answer_each, span_logits, span_losses
from tuneproof.models.activation_cache import Row
from tuneproof.models.oom import AtOnce
from tuneproof.score.threshold import best_threshold
from tuneproof.tasks.task import Example
from tuneproof.train.gradients import LossSum

Part = dict[str, Any]


@dataclass
class SpanObjective:
    """Cross-entropy of where the answer begins and ends; a window is one supervised unit."""

    shared: Shared
    ready: Ready
    compute: Compute
    _encoded: dict[str, Windows] = field(default_factory=dict, repr=False)

    def encode(self, name: str, examples: Sequence[Example]) -> Windows:
        """The part's windows."""
        if name not in self._encoded:
            settings = self.shared.recipe.encode
            self._encoded[name] = encode_windows(
                self.ready.tokenizer, self.ready.family, examples, self.ready.max_length, settings.stride
            )
        return self._encoded[name]

    @cached_property
    def train(self) -> Windows:
        """The windows of train."""
        return self.encode(self.shared.train_name, self.shared.splits.train)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every window of train."""
        return self.train.lengths_W

    @property
    def unit_ids(self) -> list[str]:
        """The question of every window of train."""
        return [self.shared.splits.train[window.item].id for window in self.train.windows]

    def rows(self, part: str) -> list[Row]:
        """The part's windows."""
        name = self.shared.train_name if part == "train" else part
        encoded = self.encode(name, self.shared.splits.part(part))
        return [Row(window.ids, window.types) for window in encoded.windows]

    def collate(self, chosen: NDArray[np.int64]) -> Part:
        """Right-padded windows with where the golds begin and end."""
        part = collate_windows([self.train.windows[i] for i in chosen], self.ready.pad.id)
        return {**part, "tokens": int(part["attention_mask"].sum())}

    def count(self, part: Part) -> int:
        """Windows."""
        return len(part["start"])

    def loss(self, model: Any, part: Part) -> LossSum:
        """Summed cross-entropy over windows."""
        losses_B = span_losses(span_logits(model, part), part)
        return LossSum(losses_B.sum(), len(losses_B), part["tokens"])

    def ask(self, model: Any, examples: Sequence[Example], name: str) -> Running[AnswerPredictions]:
        """One answer a question over all its windows. Returns the AnswerPredictions."""
        return (yield from self._asked(model, examples, name))[0]

    def measure(self, model: Any, dev: Sequence[Example]) -> Running[dict[str, float]]:
        """Mean loss of dev's windows (nats), and F1 at dev's best threshold."""
        answers, found = yield from self._asked(model, dev, "dev")
        return {"dev_loss": float(found.loss_W.mean()), "dev_f1": best_threshold(answers).f1}

    def _asked(
        self, model: Any, examples: Sequence[Example], name: str
    ) -> Running[tuple[AnswerPredictions, SpansFound]]:
        encoded = self.encode(name, examples)
        found = SpansFound.of(encoded.windows)
        recipe = self.shared.recipe
        at_once = AtOnce(recipe.predict.batch_size)
        steps = find_spans(
            model,
            encoded.windows,
            self.ready.pad.id,
            at_once,
            self.compute.device,
            self.compute.autocast,
            recipe.encode.answer_tokens,
            found,
        )
        yield from advancing(as_items(steps, len(encoded.windows), len(examples)), at_once)
        best = one_answer_each(found, encoded, examples)
        answers = as_answers(
            examples,
            best.answers,
            best.null_N,
            best.score_N,
            encoded.tokens_N,
            encoded.split_N,
            encoded.outside_N,
            best.nbest,
        )
        return answers, found

    def shown(self) -> list[dict[str, Any]]:
        """Three windows of train; the gold's tokens, or the null slot, are marked."""
        shown = []
        for window in self.train.windows[:SHOWN_ITEMS]:
            places_T = np.arange(len(window.ids))
            marked_T = (places_T >= window.gold[0]) & (places_T <= window.gold[1])
            example = self.shared.splits.train[window.item]
            shown.append(shown_item(self.ready, example, window.ids, marked_T))
        return shown
