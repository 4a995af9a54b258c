"""A tuned arm: a convex fit of the head, a training loop, or the one after the other.

In: the arm's context. Out: an ArmResult. Knows nothing of: other arms, scores.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tuneproof.arms.frozen_layers import cache_frozen_layers
from tuneproof.arms.noise_floor import measure_noise_floor, noise_notes
from tuneproof.arms.probe import fit_model_head, run_probe
from tuneproof.arms.search import search_settings
from tuneproof.arms.self_test import self_test
from tuneproof.arms.serving_speed import serve_with
from tuneproof.arms.span_probe import fit_model_span_head, run_span_probe
from tuneproof.arms.training import Training
from tuneproof.arms.training_speed import sample_training_cost, training_speed_entry
from tuneproof.context.arm_context import ArmContext
from tuneproof.context.compute import Compute
from tuneproof.context.model_spec import ModelSpec
from tuneproof.context.prompt_samples import encoding_summary
from tuneproof.context.study_data import ArmResult, apply_dev_threshold
from tuneproof.data.batches import padding_share, plan_batches, split_micro
from tuneproof.errors import StoppedError
from tuneproof.families.models import resolve_model
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.methods.options import starts_random, trains_words
from tuneproof.models.adapter import load_adapter
from tuneproof.models.adapter_config import ADAPTER_CONFIG
from tuneproof.models.frozen_layers import whole_forwards
from tuneproof.models.fsdp import shard
from tuneproof.models.load import Head, LoadResult, load_model, model_on_meta, pretrained_on_meta, quiet
from tuneproof.models.oom import recompute_activations
from tuneproof.models.quantize import Quantization
from tuneproof.objectives.answers import AnswerObjective
from tuneproof.objectives.make import make_objective
from tuneproof.objectives.objective import Objective
from tuneproof.objectives.span import SpanObjective
from tuneproof.parameters.architecture import pretrained_entry
from tuneproof.parameters.ledger import parameter_ledger
from tuneproof.parameters.left_out import left_out_notes
from tuneproof.process_group import current_group, launched
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.task import Example
from tuneproof.throughput.device_peak import measure_device_peak
from tuneproof.train.checkpoint import restore_trained


def run_tuned(context: ArmContext) -> ArmResult:
    """Search, load, fit the head, apply the method, cache frozen layers, self-test, train, predict."""
    if context.arm.method.apply is None:
        return run_span_probe(context) if context.study.kind == "questions" else run_probe(context)
    seconds: dict[str, float] = {}
    context, search = search_settings(context, _prepare_trial, seconds)
    with _timed(seconds, "load"):
        context.monitor.stage("load")
        loaded = _load(context)
        model = loaded.model.to(context.compute.device)
        objective = make_objective(context)
    chosen = _fit_head(context, model, objective, seconds)
    model = _apply_method(context, model, loaded)
    frozen = cache_frozen_layers(context, model, objective, seconds)
    _self_test(context, model, objective, seconds)
    sharded = _synchronise(context, model)
    loaded = replace(loaded, model=None)  # so that shards are freed when they are gathered
    training = Training(context, model, objective)
    chosen |= training.run()
    del model  # a sharded one is freed before the whole one is loaded
    model = _whole_model(context, training, sharded)
    seconds |= training.state.stages()
    with _timed(seconds, "predict"):
        dev, test, thresholds = _predict(context, training, chosen)
    predictors = _predictors(context, training)
    ledger = _ledger(context, model, loaded) | frozen | measure_noise_floor(context, predictors["serve"])
    return ArmResult(
        test=test,
        dev=dev,
        ledger=ledger,
        training_speed=lambda: _training_speed(context, training, sharded),
        chosen={**(search["chosen"] if search else {}), **chosen, **thresholds},
        search=search,
        time_s=seconds,
        encoding=_encoding(context, objective, test),
        prompts=objective.samples(),
        notes=_notes(context, loaded, ledger),
        save=lambda folder: context.spec.save_model(model, folder),
        **predictors,
    )


def _prepare_trial(context: ArmContext) -> tuple[Any, Objective]:
    """The model of a trial as `run_tuned` prepares it, and its objective."""
    seconds: dict[str, float] = {}  # all of it counts as search
    loaded = _load(context)
    model = loaded.model.to(context.compute.device)
    objective = make_objective(context)
    _fit_head(context, model, objective, seconds)
    model = _apply_method(context, model, loaded)
    cache_frozen_layers(context, model, objective, seconds)
    _self_test(context, model, objective, seconds)
    _synchronise(context, model)
    return model, objective


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - started


def _load(context: ArmContext) -> LoadResult:
    """The pretrained model under the head of the arm's objective."""
    spec, arm = context.spec, context.arm
    return load_model(
        spec.source,
        spec.config,
        spec.tokenizer,
        spec.family,
        head=head_of(arm, context.study.kind),
        labels=context.study.labels,
        random=starts_random(arm.options),
        dtype=weights_dtype(arm, context.compute),
        quantization=quantization_of(arm, context.compute),
        seed=context.seed,
    )


def _fit_head(
    context: ArmContext, model: Any, objective: Objective, seconds: dict[str, float]
) -> dict[str, Any]:
    """Fit the head before training where the method does. Returns what dev chose."""
    if not context.arm.method.fits_head:
        return {}
    with _timed(seconds, "probe"):
        if isinstance(objective, SpanObjective):
            return {"head": fit_model_span_head(objective, model)}
        return {"head": fit_model_head(context, model)}


def _apply_method(context: ArmContext, model: Any, loaded: LoadResult) -> Any:
    """The model as the arm's method trains it."""
    apply = context.arm.method.apply
    assert apply is not None
    torch.manual_seed(context.seed)
    with quiet():
        model = apply(model, context.spec.family, context.options, loaded.fresh).to(context.compute.device)
    if context.recipe.train.gradient_checkpointing:
        recompute_activations(model)
    return model


def _self_test(context: ArmContext, model: Any, objective: Objective, seconds: dict[str, float]) -> None:
    """The self-test, unless it is turned off or another seed on the same items has passed it."""
    if not context.recipe.train.self_test:
        return

    def test() -> bool:
        context.monitor.stage("self-test")
        return self_test(context, model, objective)

    with _timed(seconds, "self-test"):
        if not context.once("self-test", objective.lengths, test):
            context.monitor.message("The self-test was skipped: out of memory.", recorded=True)


def _synchronise(context: ArmContext, model: Any) -> bool:
    """Give every process the same trainable weights, sharded where requested. Returns whether they are."""
    current_group().broadcast_tensors(p for p in model.parameters() if p.requires_grad)
    sharded = context.recipe.compute.parallel == "fsdp" and launched()
    if sharded:
        compute = context.compute
        shard(model, None if compute.precision == "fp32" else compute.frozen_dtype)
    return sharded


def _whole_model(context: ArmContext, training: Training, sharded: bool) -> Any:
    """The trained model; of a sharded one a whole one with the weights that the shards were trained to."""
    if not sharded:
        return training.model
    weights = training.gather_weights()
    loaded = _load(context)
    model = _apply_method(context, loaded.model.to(context.compute.device), loaded)
    restore_trained(model, weights)
    training.model = model
    return model


def _predict(
    context: ArmContext, training: Training, chosen: dict[str, Any]
) -> tuple[AnyPredictions, AnyPredictions, dict[str, Any]]:
    """Predictions of dev and of test, and the threshold that dev chose where there is one."""
    objective, splits = training.objective, context.splits
    if isinstance(objective, AnswerObjective) and context.resume_logs is not None:
        objective.resume_logs = context.resume_logs.for_weights(chosen)
    context.monitor.stage("predict", len(splits.dev) + len(splits.test))
    with _saving_on_stop(training):
        dev = objective.predict(training.model, splits.dev, "dev")
        with context.test_attention():
            test = objective.predict(training.model, splits.test, "test")
    if not isinstance(dev, AnswerPredictions):
        return dev, test, {}
    answers = apply_dev_threshold(dev, test, context.study.answers_all)
    return answers.dev, answers.test, {"answers": answers.chosen}


@contextmanager
def _saving_on_stop(training: Training) -> Iterator[None]:
    """A stop while predicting costs no step."""
    try:
        yield
    except StoppedError:
        training.group.stop()
        if training.optimizer is not None:
            training.save()
        raise


def _predictors(context: ArmContext, training: Training) -> dict[str, Any]:
    """What predicts further items, and what is timed."""

    def predictor(timed: ArmContext) -> Any:
        return partial(make_objective(timed).predict, training.model)

    serve = serve_with(context, predictor, whole_forwards)
    return {"predict": partial(_predict_part, context, training), "serve": serve}


def _predict_part(
    context: ArmContext, training: Training, examples: Sequence[Example], part: str
) -> AnyPredictions:
    with _saving_on_stop(training), context.attention(part, examples):
        return training.objective.predict(training.model, examples, part)


def _notes(context: ArmContext, loaded: LoadResult, ledger: dict[str, Any]) -> list[str]:
    notes = *context.spec.notes, *context.spec.details, *loaded.notes
    return [*notes, *left_out_notes(ledger["lines"]), *noise_notes(ledger)]


def _ledger(context: ArmContext, model: Any, loaded: LoadResult) -> dict[str, Any]:
    spec = context.spec
    pretrained = pretrained_on_meta(spec.source, spec.config)
    return {
        **parameter_ledger(model, pretrained, spec.family, fresh=loaded.fresh).as_json(),
        **pretrained_entry(spec.source, spec.config, spec.family, pretrained),
    }


def _training_speed(context: ArmContext, training: Training, sharded: bool) -> dict[str, Any]:
    """The ledger's entry `training_speed`, measured by the main process.

    Measured once everything else is done, so that the first step does not wait. A process reads more
    sharded weights than it holds, so that bytes per step are not known then.
    """
    if not training.group.is_main:
        return {}
    compute = context.compute
    cost = sample_training_cost(context, training.model, training.objective)
    peak = measure_device_peak(compute.device, compute.precision)
    entry = training_speed_entry(training.steps_file, cost, peak, training.group.world_size)
    if sharded and entry:
        entry["training_speed"] |= {"step_bytes": None, "bandwidth_utilization": None}
    return entry


def _encoding(context: ArmContext, objective: Objective, test: AnyPredictions) -> dict[str, Any]:
    """What the record says about encoding, and the share of padding in the first epoch."""
    settings, lengths = context.recipe.train, objective.lengths.tolist()
    grouped = lengths if settings.group_by_length else None
    batches = plan_batches(len(lengths), settings.batch_size, context.seed, 0, grouped)
    parts = [part for batch in batches for part in split_micro(batch, settings.micro_batch, lengths)]
    summary = encoding_summary(test, context.spec.max_length)
    return {**summary, "padding_share": padding_share(lengths, parts)}


def weights_dtype(arm: Arm, compute: Compute) -> torch.dtype:
    """The dtype that the base's weights are held in: half precision where they are frozen.

    What trains is float32, whatever it is computed in; quantised weights have no such dtype.
    """
    frozen = arm.method.freezes_base(arm.options) and not arm.method.quantizes
    trains = arm.method.apply is not None  # a span head alone is fitted to the states of float32 weights
    return compute.frozen_dtype if frozen and trains else torch.float32


def quantization_of(arm: Arm, compute: Compute) -> Quantization | None:
    """How the arm's method quantises the frozen base; None: it does not."""
    return Quantization(str(compute.device), compute.precision) if arm.method.quantizes else None


def head_of(arm: Arm, kind: str) -> Head:
    """The head under which the arm's model learns on tasks of a kind."""
    if trains_words(arm.options):
        return "words"
    return "span" if kind == "questions" else "labels"


def reload_arm(context: ArmContext, folder: Path) -> Any:
    """The model of a finished arm on the device, held as it was trained.

    Raises: ModelError where the weights do not fit.
    """
    arm, compute = context.arm, context.compute
    model = reload_tuned(
        folder,
        context.spec,
        head_of(arm, context.study.kind),
        context.study.labels,
        quantization_of(arm, compute),
        weights_dtype(arm, compute),
    )
    return model.to(compute.device)


def reload_tuned(
    folder: Path,
    spec: ModelSpec,
    head: Head,
    labels: Sequence[str],
    quantization: Quantization | None = None,
    dtype: torch.dtype = torch.float32,
) -> Any:
    """A model from an arm's weights: whole, or an adapter on its base.

    Raises: ModelError where the weights do not fit.
    """
    has_adapter = (folder / ADAPTER_CONFIG).is_file()
    model = load_model(
        spec.source if has_adapter else resolve_model(str(folder)),
        spec.config,
        spec.tokenizer,
        spec.family,
        head=head,
        labels=tuple(labels),
        dtype=dtype,
        quantization=quantization,
    ).model
    if not has_adapter:
        return model
    on_meta = model_on_meta(spec.source, spec.config, head=head, labels=tuple(labels))
    return load_adapter(model, folder, on_meta)
