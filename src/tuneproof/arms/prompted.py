"""A prompt arm: the pretrained model is asked; nothing trains.

In: the arm's context. Out: an ArmResult. Knows nothing of: other arms, scores.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import nsmallest
from typing import Any

import numpy as np

from tuneproof.arms.frozen_result import frozen_result
from tuneproof.arms.self_test import select_items, self_test_prompts
from tuneproof.arms.serving_speed import serve_with
from tuneproof.context.arm_context import ArmContext
from tuneproof.context.few_shot import shots_of
from tuneproof.context.prompt_encoding import encode_label_cloze, encode_label_prompts
from tuneproof.context.study_data import ArmResult, as_predictions
from tuneproof.data.encode import EncodedCloze, EncodedPrompts
from tuneproof.inference.finite import naming_items
from tuneproof.inference.generate import generate_answers, max_answer_tokens
from tuneproof.inference.label_likelihood import (
    CONTENT_FREE_TEXTS,
    calibrate,
    content_free_probabilities,
    probabilities,
)
from tuneproof.inference.parse import parse_answer
from tuneproof.inference.prediction import Predictions
from tuneproof.methods.options import PromptOptions, generates_text
from tuneproof.models.load import load_model
from tuneproof.models.resume_log import ResumeLog, ResumeLogs
from tuneproof.objectives.answers import AnswerObjective
from tuneproof.objectives.label_words import label_scores
from tuneproof.objectives.objective import FloatArray
from tuneproof.tasks.task import Example

SIMILAR_LENGTH = 1.25  # a prompt up to so many times as long as a tested one needs no test
SELF_TEST_CANDIDATES = 32  # short items from which the self-test takes some of different lengths


def load_prompt_model(context: ArmContext) -> Any:
    """The pretrained model with its own language-model head, frozen, on the device."""
    spec = context.spec
    loaded = load_model(
        spec.source,
        spec.config,
        spec.tokenizer,
        spec.family,
        head="words" if spec.family.kind == "decoder" else "cloze",
        dtype=context.compute.frozen_dtype,
    )
    return loaded.model.to(context.compute.device)


def run_prompted(context: ArmContext) -> ArmResult:
    """Draw the shots, load, prompt, calibrate; finished batches are in the resume logs."""
    shots = shots_of(context.study, context.arm, context.seed)
    started = time.perf_counter()
    context.monitor.stage("load")
    model = _shared_model(context)
    load_s = time.perf_counter() - started
    predictor = make_predictor(context, shots, context.resume_logs)
    _self_test(context, model, predictor)
    result = frozen_result(context, model, predictor, {"shots": [shot.id for shot in shots]}, load_s)
    serve = serve_with(context, lambda timed: partial(make_predictor(timed, shots).predict, model))
    return replace(result, serve=serve)


def _shared_model(context: ArmContext) -> Any:
    """The model that prompt arms in a row share; under `compute.memory` each loads its own."""
    if context.recipe.compute.memory is not None:
        return load_prompt_model(context)
    return context.loaded.get(context.spec, lambda: load_prompt_model(context))


def _self_test(context: ArmContext, model: Any, predictor: "LabelPredictor | AnswerObjective") -> None:
    """The self-test on a few prompts, unless it is turned off, or the loaded model has passed it.

    What it tests holds for other shots, too; for longer prompts it is repeated.
    """
    if not context.recipe.train.self_test:
        return
    short = nsmallest(SELF_TEST_CANDIDATES, context.splits.dev, key=lambda example: len(example.text))
    prompts = predictor.prompts(short)
    chosen = select_items([len(prompt) for prompt in prompts])
    rows, ids = [prompts[i] for i in chosen], [short[i].id for i in chosen]
    longest, loaded = max(map(len, rows)), context.loaded
    is_loaded = loaded.model is model
    if is_loaded and longest <= SIMILAR_LENGTH * loaded.tested_tokens:
        return
    context.monitor.stage("self-test")
    if not self_test_prompts(context, model, rows, ids):
        context.monitor.message("The self-test was skipped: out of memory.", recorded=True)
    elif is_loaded:
        loaded.tested_tokens = longest


def make_predictor(
    context: ArmContext, shots: Sequence[Example], resume_logs: ResumeLogs | None = None
) -> "LabelPredictor | AnswerObjective":
    """What prompts the model, by the task's kind."""
    kind = AnswerObjective if context.study.kind == "questions" else LabelPredictor
    return kind(context, shots, resume_logs)


@dataclass
class LabelPredictor:
    """Predicts labels with one prompt and fixed shots, calibrated once."""

    context: ArmContext
    shots: Sequence[Example] = ()
    resume_logs: ResumeLogs | None = None
    _content_free: FloatArray | None = field(default=None, repr=False)

    def encode(self, examples: Sequence[Example]) -> EncodedPrompts | EncodedCloze:
        """Prompts with every label's words, or clozes with a mask."""
        if self.context.spec.family.kind == "encoder":
            return encode_label_cloze(self.context.study, self.context.spec, examples)
        return encode_label_prompts(self.context.study, self.context.spec, examples, self.shots)

    def predict(self, model: Any, examples: Sequence[Example], name: str) -> Predictions:
        """Predictions of these examples; `name` is what the part is called."""
        options = self.context.options
        assert isinstance(options, PromptOptions)
        resume_log = self.resume_logs.open(name) if self.resume_logs is not None else None
        encoded = self.encode(examples)
        if generates_text(options):
            return self._generate(model, examples, encoded, resume_log)
        scores_NC = label_scores(self.context, model, encoded, resume_log)
        uncalibrated_NC = shares_NC = probabilities(scores_NC)
        if options.calibration == "contextual":
            shares_NC = probabilities(calibrate(scores_NC, self._content_free_shares(model)))
        return as_predictions(
            self.context.study.labels,
            examples,
            shares_NC,
            encoded.tokens_N,
            encoded.truncated_N,
            uncalibrated_NC=uncalibrated_NC,
        )

    def _content_free_shares(self, model: Any) -> FloatArray:
        if self._content_free is None:
            blanks = [Example(f"blank-{i}", text, 0, "") for i, text in enumerate(CONTENT_FREE_TEXTS)]
            scores_MC = label_scores(self.context, model, self.encode(blanks))
            self._content_free = content_free_probabilities(scores_MC)
        return self._content_free

    def _generate(
        self, model: Any, examples: Sequence[Example], encoded: Any, resume_log: ResumeLog | None
    ) -> Predictions:
        context = self.context
        with context.compute.autocast(), naming_items(examples):
            texts = generate_answers(
                model,
                context.spec.tokenizer,
                encoded,
                context.spec.pad.id,
                context.batch_size(resume_log),
                max_answer_tokens(encoded),
                context.compute.device,
            )
        words = context.study.prompt.words
        predicted_N = np.array([parse_answer(text, words) for text in texts], dtype=np.int64)
        return as_predictions(
            context.study.labels,
            examples,
            None,
            encoded.tokens_N,
            encoded.truncated_N,
            predicted_N=predicted_N,
            texts=texts,
        )

    def prompts(self, examples: Sequence[Example]) -> Sequence[Any]:
        """Tokens of these items' prompts."""
        encoded = self.encode(examples)
        return encoded.ids if isinstance(encoded, EncodedCloze) else encoded.prompt_ids
