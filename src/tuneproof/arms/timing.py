"""How long an arm's work takes: real items through the arm's own code, on a model without its weights.

In: the arm's context with a sample of the items. Out: ArmTimes.
Knows nothing of: how many steps and items the study has, what else an arm costs.

A step is one of `fit`, with the arm's method, objective, optimizer and micro-batches; predictions are those
of the objective or the prompt. Large models are timed at two numbers of layers (see models/shallow.py),
long batches at two numbers of items, and the seconds are extended along lines.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tuneproof.arms.probe import candidate_poolings
from tuneproof.arms.prompted import make_predictor
from tuneproof.arms.tuned import head_of, weights_dtype
from tuneproof.context import time_left
from tuneproof.context.arm_context import ArmContext
from tuneproof.data.batches import Batch, padding_share, plan_batches, split_micro
from tuneproof.families.blocks import layers_of
from tuneproof.methods.options import generates_text, last_layers, trains_words
from tuneproof.models.load import Head, quiet
from tuneproof.models.oom import recompute_activations, release_memory
from tuneproof.models.pooled_features import pooled_features
from tuneproof.models.shallow import depths_to_build, layer_weights, shallow_model
from tuneproof.objectives.make import make_objective
from tuneproof.objectives.objective import Objective
from tuneproof.tasks.task import Example
from tuneproof.throughput.linear_cost import LayeredCost, Line, line_through
from tuneproof.train.loop import fit
from tuneproof.train.optimizer import make_optimizer, make_schedule

WORK_FLOPS = {"cpu": 1e11, "cuda": 1e13, "mps": 3e11}  # of the layers, in what is timed at once
LEAST_ITEMS = 4  # beside one: what a call takes whatever its items is not multiplied by them
TIMED_ONE_IN = 16  # items at most are timed at once: a forecast must not cost what it predicts
MOST_CALLS, ENOUGH_S = 4, 0.03  # of the same work
GROWTH = 2.5  # of a call's time, from which on the time of an item stands out of that of the call
MANY_WEIGHTS = 30_000_000
SPARE_TOKENS, MORE_TOKENS = 3, 8  # of timed answers: beside the no-answer string, beyond
FORWARD, TRAINING = 2, 6  # FLOPs per weight and token (Kaplan et al. 2020, arXiv:2001.08361, section 2.1)


@dataclass(frozen=True)
class ArmTimes:
    """Seconds by layers and items.

    predict: of so many items, with the first tokens of written answers. evaluate: of so many dev items (None:
    as predict). step: of a step on so many rows (None: the arm takes none). token: of one more token of a
    batch of answers (None: nothing is written); more_tokens: until a batch is finished.
    rows_per_item: rows of train (windows) that an item gives. weights, trained_weights: how many, by layers.
    """

    layers: int
    weights: LayeredCost
    predict: LayeredCost
    evaluate: LayeredCost | None = None
    step: LayeredCost | None = None
    token: LayeredCost | None = None
    more_tokens: int = 0
    rows_per_item: float = 1.0
    trained_weights: LayeredCost | None = None


def time_arm(context: ArmContext, shots: Sequence[Example], predicted: int) -> ArmTimes:
    """Time the arm's work on the sample in its context; what is random elsewhere stays as it is.

    predicted: how many items of dev and test the arm predicts; one in `TIMED_ONE_IN` is timed at most.

    Raises: ModelError where the architecture does not allow it.
    """
    config, source = context.spec.config, context.spec.source
    layers, weights = layers_of(config) or 1, layer_weights(source, config)
    costs: dict[str, dict[int, Line]] = {}
    with torch.random.fork_rng(devices=[]):
        for depth in depths_to_build(layers, weights):
            timer = _Timer(context, shots, depth, depth * weights, predicted)
            for name, line in timer.lines():
                costs.setdefault(name, {})[depth] = line
            objective = timer.objective
            del timer
            if depth * weights > MANY_WEIGHTS:  # collecting garbage takes longer than timing a small model
                release_memory()
    layered = {name: LayeredCost(lines) for name, lines in costs.items()}
    rows = len(objective.item_ids) / len(context.splits.train) if objective else 1.0
    more = max(0, _answer_tokens(context, objective) - few_tokens(context))
    return ArmTimes(layers, more_tokens=more, rows_per_item=rows, **layered)


@dataclass
class _Timer:
    """Times one arm's work on a model of so many layers, whose weights number `weights`."""

    context: ArmContext
    shots: Sequence[Example]
    depth: int
    weights: int
    predicted: int

    def __post_init__(self) -> None:
        context, method = self.context, self.context.arm.method
        self.writes = context.study.kind == "questions" and (
            method.kind == "prompt" or trains_words(context.options)
        )
        self.objective: Objective | None = None
        if method.kind == "tuned" and (method.apply is not None or context.study.kind == "questions"):
            self.objective = make_objective(context)
        self.model = self._build()

    def lines(self) -> Iterator[tuple[str, Line]]:
        """Every kind of work with its seconds by items."""
        context, method = self.context, self.context.arm.method
        held_out = [*context.splits.dev, *context.splits.test]
        examples = sorted(held_out, key=lambda example: len(example.text))
        limit = min(len(examples), self._most_at_once())
        count = self._items(FORWARD, self._mean_tokens(examples), limit)
        middle = examples[(len(examples) - count) // 2 :][:count]
        yield "weights", Line(float(sum(weight.numel() for weight in self.model.parameters())), 0.0)
        few = few_tokens(context) if self.writes else 0
        yield (
            "predict",
            self._line(
                count, limit, lambda n: self._predict_call(examples[(len(examples) - n) // 2 :][:n], few)
            ),
        )
        if self.writes:
            seconds = [self._seconds(self._predict_call(middle, n)) for n in (few, few + MORE_TOKENS)]
            yield "token", Line(max(0.0, seconds[1] - seconds[0]) / MORE_TOKENS, 0.0)
        if method.apply is None:
            return
        if context.study.kind == "questions":
            yield "evaluate", self._line(count, count, lambda n: self._evaluate_call(middle[:n]))
        yield "step", self._time_steps()
        trained = sum(weight.numel() for weight in self.model.parameters() if weight.requires_grad)
        yield "trained_weights", Line(float(trained), 0.0)

    def _build(self) -> Any:
        """The arm's model with its method applied, as `run_tuned` and `run_prompted` have it."""
        context, arm = self.context, self.context.arm
        spec, compute, options = context.spec, context.compute, context.options
        decoder = spec.family.kind == "decoder"
        head: Head = "words" if decoder else "cloze"
        dtype = compute.frozen_dtype
        if arm.method.kind == "tuned":
            features = arm.method.apply is None and context.study.kind == "labels"
            head = "base" if features else head_of(arm, context.study.kind)
            dtype = compute.frozen_dtype if features else weights_dtype(arm, compute)
        model = shallow_model(spec.source, spec.config, head, context.study.labels, self.depth, dtype)
        model = model.to(compute.device)
        if arm.method.apply is None:
            return model
        last = last_layers(options)
        if last is not None:  # what is below comes from a cache
            options = options.model_copy(update={"layers": "all"})
        with quiet():
            model = arm.method.apply(model, spec.family, options, _head_weights(model)).to(compute.device)
        if last is not None:
            model.get_input_embeddings().requires_grad_(False)
        if context.recipe.train.gradient_checkpointing:
            recompute_activations(model)
        return model

    def _items(self, flops_per_weight: int, tokens: float, most: int) -> int:
        """How many items of so many tokens to time at once."""
        limit = WORK_FLOPS.get(self.context.compute.device.type, WORK_FLOPS["cpu"])
        affordable = int(limit / (flops_per_weight * self.weights * tokens))
        return min(most, max(LEAST_ITEMS, affordable))

    def _most_at_once(self) -> int:
        """How many items are predicted at once at most while timing."""
        few = max(LEAST_ITEMS, self.predicted // TIMED_ONE_IN)
        return min(self.context.recipe.predict.batch_size, few)

    def _mean_tokens(self, examples: Sequence[Example]) -> float:
        """Tokens of an item with its prompt, from a few."""
        few = examples[:: max(1, len(examples) // 16)]
        if self.context.arm.method.kind == "prompt":
            rows: Sequence[Any] = make_predictor(self.context, self.shots).prompts(few)
            return float(np.mean([len(row) for row in rows]))
        if self.objective is not None:
            return float(self.objective.lengths.mean() * len(self.objective.item_ids)) / len(
                self.context.splits.train
            )
        return float(self.context.spec.encode("few", few, self.context.recipe.encode).tokens_N.mean())

    def _line(self, count: int, limit: int, call_of: Callable[[int], Callable[[], Any]]) -> Line:
        """Seconds by items, from a quarter of `count` and all, or of more of them, up to `limit`.

        More are needed where a call takes nearly the same for four times the items: what it takes whatever
        its items are, such as the conversion of weights to bf16, would hide what an item takes.
        """
        seconds = {n: self._seconds(call_of(n)) for n in sorted({-(-count // 4), count})}
        fewest = min(seconds)
        while count < limit and seconds[count] < GROWTH * seconds[fewest]:
            count = min(limit, 2 * count)
            seconds[count] = self._seconds(call_of(count))
        return line_through({n: seconds[n] for n in (fewest, count)})

    def _seconds(self, call: Callable[[], Any]) -> float:
        """The mean of a few calls, the first one left out."""
        call()
        times: list[float] = []
        while len(times) < MOST_CALLS and sum(times) < ENOUGH_S:
            started = time_left.clock()
            call()
            if self.context.compute.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time_left.clock() - started)
        return sum(times) / len(times)

    def _predict_call(self, examples: Sequence[Example], answer_tokens: int) -> Callable[[], Any]:
        """One prediction of these items, encoded at the first call."""
        context, options = self.context, self.context.options
        if self.writes:
            settings = context.recipe.encode.model_copy(update={"answer_tokens": answer_tokens})
            recipe = context.recipe.model_copy(update={"encode": settings})
            context = replace(context, study=replace(context.study, recipe=recipe))
        name = f"{len(examples)} timed"
        if context.arm.method.kind == "prompt":
            predictor = make_predictor(context, self.shots)
            return lambda: predictor.predict(self.model, examples, name)
        if self.objective is not None:
            objective = make_objective(context)
            return lambda: objective.predict(self.model, examples, name)
        spec, compute = context.spec, context.compute
        poolings = candidate_poolings(spec, options.pooling)
        ids = spec.encode(name, examples, context.recipe.encode).ids
        inputs = (self.model, spec.family, ids, spec.pad.id, poolings)
        return lambda: pooled_features(*inputs, context.batch_size(), compute.device, compute.autocast)

    def _evaluate_call(self, examples: Sequence[Example]) -> Callable[[], Any]:
        objective = make_objective(self.context)
        return lambda: objective.evaluate(self.model, examples)

    def _time_steps(self) -> Line:
        """Seconds of a step by items, each as long as an item of a batch is with its padding."""
        context, objective = self.context, self.objective
        assert objective is not None
        train, lengths = context.recipe.train, objective.lengths
        tokens = _computed_tokens(context, lengths)
        order = np.argsort(np.abs(lengths - tokens), kind="stable")
        most = self._items(TRAINING, tokens, train.batch_size)
        sizes = sorted({-(-most // 4), most})
        planned = [sizes[0], *sizes]

        def batches(epoch: int) -> Iterator[Batch]:
            for size in planned:
                indices = np.resize(order, size)
                parts = split_micro(indices, train.micro_batch, lengths.tolist())
                ids = tuple(objective.item_ids[i] for i in indices.tolist())
                yield Batch(ids, tuple(objective.collate(part) for part in parts), tuple(parts))

        steps = fit(
            self.model,
            batches,
            objective.loss,
            objective.count,
            make_optimizer(self.model, 1e-8, train.weight_decay),
            make_schedule("constant", len(planned), 0.0),
            epochs=1,
            steps_per_epoch=len(planned),
            clip_norm=train.clip_norm,
            seed=0,
            accelerator=context.compute.accelerator.fresh(),
        )
        next(steps)  # creates the optimizer's state
        times = {}
        for size in sizes:
            started = time_left.clock()
            next(steps)
            times[size] = time_left.clock() - started
        steps.close()  # type: ignore[attr-defined]
        return line_through(times)


def _head_weights(model: Any) -> tuple[str, ...]:
    """The weights outside of the base: a checkpoint may hold none of them."""
    base = {id(weight) for weight in model.base_model.parameters()}
    return tuple(name for name, weight in model.named_parameters() if id(weight) not in base)


def _computed_tokens(context: ArmContext, lengths: Any) -> float:
    """Mean tokens that an item costs in a batch: with padding, unless the encoder skips it."""
    if context.spec.family.kind == "encoder" and context.compute.device.type == "cpu":
        return float(lengths.mean())
    train = context.recipe.train
    grouped = lengths.tolist() if train.group_by_length else None
    batches = plan_batches(len(lengths), train.batch_size, 0, 0, grouped)
    parts = [part for batch in batches for part in split_micro(batch, train.micro_batch, lengths.tolist())]
    return float(lengths.mean()) / (1 - padding_share(lengths.tolist(), parts))


def few_tokens(context: ArmContext) -> int:
    """Tokens that written answers are timed with: they must hold the no-answer string and its end."""
    if context.study.kind != "questions":
        return 0
    words = context.spec.tokenizer(context.study.question_prompt.no_answer, add_special_tokens=False)
    return len(words["input_ids"]) + SPARE_TOKENS


def _answer_tokens(context: ArmContext, objective: Objective | None) -> int:
    """Tokens until the last answer of a batch ends: of gold answers where they are learned, else the most."""
    if context.study.kind != "questions" or generates_text(context.options):
        return 0
    supervised = getattr(getattr(objective, "train", None), "supervised", None)
    limit = context.recipe.encode.answer_tokens
    if supervised is None:
        return limit
    sizes = [int(row.sum()) for row in supervised]
    batch = context.recipe.predict.batch_size
    return min(limit, math.ceil(np.mean([max(sizes[i : i + batch]) for i in range(0, len(sizes), batch)])))
