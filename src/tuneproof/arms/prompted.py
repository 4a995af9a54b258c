"""A prompt arm: the pretrained model is asked; nothing trains.

In: what all arms share, one arm, a ready model, a seed. Out: events and an Outcome.
Knows nothing of: other arms, scores.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.arms.self_test import prove_prompts, some_items
from tuneproof.context.few_shot import shots_of
from tuneproof.context.model_spec import Compute, Ready
from tuneproof.context.monitor import Running, Said, StageBegun
from tuneproof.context.progress import advancing, under
from tuneproof.context.prompt_samples import SHOWN_ITEMS, encoding_of, shown_item
from tuneproof.context.study_data import Outcome, Shared, as_predictions, decided
from tuneproof.data.encode import EncodedCloze, EncodedPrompts, encode_cloze, encode_prompts
from tuneproof.inference.generate import answer_budget, answer_prompts, parse_answer
from tuneproof.inference.label_likelihood import CONTENT_FREE, calibrate, content_free, probabilities
from tuneproof.inference.prediction import Predicted, Predictions
from tuneproof.models.load import load_model, pretrained_on_meta
from tuneproof.models.oom import AtOnce
from tuneproof.models.resume_log import Journal, Journals
from tuneproof.objectives.answers import AnswerObjective
from tuneproof.objectives.objective import scored
from tuneproof.parameters.ledger import parameter_ledger
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.task import Example

CANDIDATES = 32  # short items from which the self-test takes some of different lengths


def load_asked(ready: Ready, compute: Compute) -> Any:
    """The pretrained model with its own language-model head, frozen."""
    return load_model(
        ready.source,
        ready.config,
        ready.tokenizer,
        ready.family,
        head="words" if ready.family.kind == "decoder" else "cloze",
        dtype=compute.frozen_dtype,
    ).model


def _asked(shared: Shared, ready: Ready, compute: Compute) -> Any:
    """The model to ask, loaded once for prompt arms that follow each other: none of them changes it.

    Under `compute.memory` every arm loads its own, so that its peak is its own.
    """
    if ready.asked:
        return ready.asked[0]
    model = load_asked(ready, compute).to(compute.device)
    if shared.recipe.compute.memory is None:
        ready.asked.append(model)
    return model


def run_prompted(
    shared: Shared, arm: Arm, ready: Ready, compute: Compute, seed: int, kept: Journals
) -> Running[Outcome]:
    """Draw the shots, load, ask, calibrate; finished batches are in `kept`. Returns the Outcome."""
    splits = shared.splits
    shots = shots_of(shared, arm, seed)
    begun = time.perf_counter()
    yield StageBegun("load", None)
    model = _asked(shared, ready, compute)
    seconds = {"load": time.perf_counter() - begun}
    asker = (
        AnswerObjective(shared, ready, compute, shots, kept)
        if shared.kind == "questions"
        else PromptAsker(shared, arm, ready, compute, model, shots, kept)
    )
    yield from _prove(model, asker, shared, arm, ready, compute)
    begun = time.perf_counter()
    yield StageBegun("ask", len(splits.dev) + len(splits.test))
    chosen: dict[str, Any] = {"shots": [shot.id for shot in shots]}
    if isinstance(asker, AnswerObjective):
        dev_answers = yield from asker.ask(model, splits.dev, "dev")
        known = decided(dev_answers, (yield from asker.ask(model, splits.test, "test")))
        dev: Predicted = known.dev
        test: Predicted = known.test
        chosen |= {"answers": known.chosen}
        shown = asker.shown_prompts(splits.test[:SHOWN_ITEMS])
    else:
        dev = yield from asker.ask(splits.dev, "dev")
        test = yield from asker.ask(splits.test, "test")
        shown = asker.shown(splits.test[:SHOWN_ITEMS])
    seconds["predict"] = time.perf_counter() - begun
    skeleton = pretrained_on_meta(ready.source, ready.config)
    return Outcome(
        test=test,
        dev=dev,
        ledger=parameter_ledger(model, skeleton, ready.family, trainable=0).as_json(),
        chosen=chosen,
        time_s=seconds,
        encoding=encoding_of(test, ready.max_length),
        prompts=shown,
        notes=list(ready.notes),
    )


def _prove(model: Any, asker: Any, shared: Shared, arm: Arm, ready: Ready, compute: Compute) -> Running[None]:
    """The self-test on a few prompts, unless it is turned off."""
    if not shared.recipe.train.self_test:
        return
    yield StageBegun("self-test", None)
    short = sorted(shared.splits.dev, key=lambda example: len(example.text))[:CANDIDATES]
    prompts = asker.prompts(short)
    chosen = some_items([len(prompt) for prompt in prompts])
    rows, ids = [prompts[place] for place in chosen], [short[place].id for place in chosen]
    if not prove_prompts(model, rows, ids, ready, compute, arm.name):
        yield Said("Memory was too small for the self-test; it was left out.", noted=True)


class PromptAsker:
    """Asks one model by one prompt with fixed shots, calibrated once."""

    def __init__(
        self,
        shared: Shared,
        arm: Arm,
        ready: Ready,
        compute: Compute,
        model: Any,
        shots: Sequence[Example],
        kept: Journals | None = None,
    ) -> None:
        self.kept = kept
        self.shared, self.arm, self.ready = shared, arm, ready
        self.compute, self.model, self.shots = compute, model, list(shots)
        self._content_free: Any = None

    def encode(self, examples: Sequence[Example]) -> EncodedPrompts | EncodedCloze:
        """Prompts with every label's words, or clozes with a mask."""
        settings, ready = self.shared.recipe.encode, self.ready
        if ready.family.kind == "encoder":
            return encode_cloze(
                ready.tokenizer,
                ready.family,
                self.shared.prompt,
                examples,
                ready.max_length,
                settings.truncate,
            )
        return encode_prompts(
            ready.tokenizer,
            ready.family,
            self.shared.prompt,
            examples,
            self.shots,
            ready.max_length,
            settings.truncate,
            settings.chat,
        )

    def ask(self, examples: Sequence[Example], name: str = "new") -> Running[Predictions]:
        """Returns the Predictions of these examples; `name` is what the part is called."""
        journal = self.kept.of(name) if self.kept is not None else None
        encoded = self.encode(examples)
        if getattr(self.arm.options, "scoring", "likelihood") == "generate":
            return (yield from self._generated(examples, encoded, journal))
        scores_NC = yield from self._scores(encoded, journal)
        raw_NC = probabilities(scores_NC)
        found_NC = raw_NC
        if getattr(self.arm.options, "calibration", "none") == "contextual":
            if self._content_free is None:
                blanks = [Example(f"blank-{i}", text, 0, "") for i, text in enumerate(CONTENT_FREE)]
                self._content_free = content_free((yield from self._scores(self.encode(blanks))))
            found_NC = probabilities(calibrate(scores_NC, self._content_free))
        return as_predictions(
            self.shared.labels,
            examples,
            found_NC,
            encoded.tokens_N,
            encoded.truncated_N,
            uncalibrated_NC=raw_NC,
        )

    def _scores(
        self, encoded: EncodedPrompts | EncodedCloze, journal: Journal | None = None
    ) -> Running[NDArray[np.float64]]:
        size = self.shared.recipe.predict.batch_size
        return (yield from scored(self.model, encoded, self.ready, self.compute, size, journal))

    def _generated(
        self, examples: Sequence[Example], encoded: Any, journal: Journal | None
    ) -> Running[Predictions]:
        texts = [""] * len(examples)
        at_once = AtOnce(self.shared.recipe.predict.batch_size, kept=journal)
        steps = answer_prompts(
            self.model,
            self.ready.tokenizer,
            encoded,
            self.ready.pad.id,
            at_once,
            answer_budget(encoded),
            self.compute.device,
            texts,
        )
        yield from advancing(under(self.compute, steps), at_once)
        words = self.shared.prompt.words
        found_N = np.array([parse_answer(text, words) for text in texts], dtype=np.int64)
        return as_predictions(
            self.shared.labels,
            examples,
            None,
            encoded.tokens_N,
            encoded.truncated_N,
            predicted_N=found_N,
            texts=texts,
        )

    def prompts(self, examples: Sequence[Example]) -> Sequence[Any]:
        """Tokens of these items' prompts."""
        encoded = self.encode(examples)
        return encoded.ids if isinstance(encoded, EncodedCloze) else encoded.prompts

    def shown(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """These items' prompts as the model sees them."""
        ids = self.prompts(examples)
        return [shown_item(self.ready, e, ids[i], None) for i, e in enumerate(examples)]
