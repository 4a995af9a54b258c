"""A tuned arm: a convex fit of the head, a training loop, or the one after the other.

In: what all arms share, one arm, a ready model, a seed. Out: events and an Outcome.
Knows nothing of: other arms, scores.
"""

import time
from pathlib import Path
from typing import Any

import torch

from tuneproof.arms.frozen_layers import read_trunk
from tuneproof.arms.probe import fit_model_head, run_probe
from tuneproof.arms.self_test import self_test
from tuneproof.arms.span_probe import fit_span_head, run_span_probe
from tuneproof.arms.training import Training
from tuneproof.arms.training_speed import rate_entry, workload
from tuneproof.context.model_spec import Compute, Ready
from tuneproof.context.monitor import Running, Said, StageBegun
from tuneproof.context.prompt_samples import encoding_of
from tuneproof.context.study_data import Outcome, Shared, decided
from tuneproof.data.batches import padding_share, plan_batches, split_micro
from tuneproof.data.splits import Splits
from tuneproof.errors import ModelError, StoppedError
from tuneproof.families.models import resolve_model
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.models.fsdp import shard
from tuneproof.models.load import Head, load_model, pretrained_on_meta, quiet
from tuneproof.models.oom import recompute_activations
from tuneproof.models.quantize import Packing
from tuneproof.models.resume_log import Journals
from tuneproof.objectives.answers import AnswerObjective
from tuneproof.objectives.objective import Objective, make_objective
from tuneproof.objectives.span import SpanObjective
from tuneproof.parameters.ledger import parameter_ledger
from tuneproof.process_group import launched, present
from tuneproof.recipe.recipe import Arm
from tuneproof.throughput.device_peak import device_rates
from tuneproof.train.checkpoint import restore_trained
from tuneproof.train.resume import Keeper


def run_tuned(
    shared: Shared,
    arm: Arm,
    ready: Ready,
    compute: Compute,
    seed: int,
    steps_file: Path,
    keeper: Keeper,
    kept: Journals,
) -> Running[Outcome]:
    """Load, fit the head where the method says so, train, keep the best on dev, predict.

    Training goes on from the newest checkpoint of `keeper`; finished batches of written answers are in
    `kept`. Returns the Outcome.
    """
    if arm.method.apply is None:
        run = run_span_probe if shared.kind == "questions" else run_probe
        return (yield from run(shared, arm, ready, compute))
    options: Any = arm.options
    seconds: dict[str, float] = {}
    begun = time.perf_counter()
    yield StageBegun("load", None)
    loaded = _loaded(shared, arm, ready, compute, seed)
    model = loaded.model.to(compute.device)
    objective = make_objective(getattr(options, "objective", "head"), shared, ready, compute)
    seconds["load"] = time.perf_counter() - begun
    chosen: dict[str, Any] = {}
    if arm.method.probe:
        begun = time.perf_counter()
        if isinstance(objective, SpanObjective):
            chosen["head"] = yield from fit_span_head(model, objective, options)
        else:
            chosen["head"] = yield from fit_model_head(model, shared, ready, compute, options)
        seconds["probe"] = time.perf_counter() - begun
    model = _applied(model, arm, ready, compute, shared, seed, loaded.fresh)
    trunk = yield from read_trunk(model, objective, shared, arm, ready, compute, seed, seconds)
    yield from _prove(model, objective, ready, compute, shared, arm, seconds)
    sharded = shared.recipe.compute.parallel == "fsdp" and launched()
    present().copy_from_leader(p for p in model.parameters() if p.requires_grad)
    if sharded:
        shard(model)
    training = Training(model, objective, arm, shared, compute, seed, steps_file, keeper)
    chosen |= yield from training.run()
    if sharded:
        trained = training.let_go()
        del model
        model = _loaded(shared, arm, ready, compute, seed).model.to(compute.device)
        model = training.model = _applied(model, arm, ready, compute, shared, seed, loaded.fresh)
        restore_trained(model, trained)
    seconds |= training.place.stages()
    begun = time.perf_counter()
    dev, test, answers = yield from _ask(objective, shared.splits, training, kept.of_weights(chosen))
    chosen |= answers
    seconds["predict"] = time.perf_counter() - begun
    ledger = parameter_ledger(
        model, pretrained_on_meta(ready.source, ready.config), ready.family, fresh=loaded.fresh
    )

    def save(folder: Path) -> None:
        with quiet():
            model.save_pretrained(folder)
            ready.tokenizer.save_pretrained(folder)

    return Outcome(
        test=test,
        dev=dev,
        ledger={**ledger.as_json(), **trunk},
        rate=lambda: _rate(training, objective, shared, sharded),
        chosen=chosen,
        time_s=seconds,
        encoding={**encoding_of(test, ready.max_length), "padding_share": _padding(objective, shared, seed)},
        prompts=objective.shown(),
        notes=[*ready.notes, *loaded.notes],
        save=save,
    )


def _loaded(shared: Shared, arm: Arm, ready: Ready, compute: Compute, seed: int) -> Any:
    """The pretrained model under the head of the arm's objective."""
    options: Any = arm.options
    return load_model(
        ready.source,
        ready.config,
        ready.tokenizer,
        ready.family,
        head=head_of(getattr(options, "objective", "head"), shared.kind),
        labels=shared.labels,
        random=getattr(options, "weights", "pretrained") == "random",
        dtype=held_dtype(arm, compute),
        packing=packing_of(arm, compute),
        seed=seed,
    )


def _applied(
    model: Any, arm: Arm, ready: Ready, compute: Compute, shared: Shared, seed: int, fresh: Any
) -> Any:
    """The model as the arm's method trains it."""
    assert arm.method.apply is not None
    torch.manual_seed(seed)
    with quiet():
        model = arm.method.apply(model, ready.family, arm.options, fresh).to(compute.device)
    if shared.recipe.train.gradient_checkpointing:
        recompute_activations(model)
    return model


def _prove(
    model: Any,
    objective: Objective,
    ready: Ready,
    compute: Compute,
    shared: Shared,
    arm: Arm,
    seconds: dict[str, float],
) -> Running[None]:
    """The self-test, unless it is turned off."""
    if not shared.recipe.train.self_test:
        return
    begun = time.perf_counter()
    yield StageBegun("self-test", None)
    if not self_test(model, objective, ready, compute, arm.method.packs, arm.name):
        yield Said("Memory was too small for the self-test; it was left out.", noted=True)
    seconds["self-test"] = time.perf_counter() - begun


def _rate(training: Training, objective: Objective, shared: Shared, sharded: bool) -> dict[str, Any]:
    """The ledger's entry `rate`, by one of several processes for all.

    Counted once all else is done, so that the first step waits for nothing. Of weights that are shared
    out a process reads more than it holds.
    """
    if not training.team.leads:
        return {}
    recompute = shared.recipe.train.gradient_checkpointing
    work = workload(training.model, objective, training.compute, recompute)
    device = device_rates(training.compute.device, training.compute.precision)
    found = rate_entry(training.steps_file, work, device, training.team.size)
    if sharded and found:
        found["rate"] |= {"step_bytes": None, "bandwidth_share": None}
    return found


def _ask(
    objective: Objective, splits: Splits, training: Training, kept: Journals
) -> Running[tuple[Any, Any, dict[str, Any]]]:
    """Returns predictions of dev and of test, and what dev chose by its own."""
    if isinstance(objective, AnswerObjective):
        objective.kept = kept
    yield StageBegun("predict", len(splits.dev) + len(splits.test))
    try:
        dev = yield from objective.ask(training.model, splits.dev, "dev")
        test = yield from objective.ask(training.model, splits.test, "test")
    except StoppedError:
        training.team.stop()
        if training.optimizer is not None:
            training.save()
        raise
    if not isinstance(dev, AnswerPredictions):
        return dev, test, {}
    known = decided(dev, test)
    return known.dev, known.test, {"answers": known.chosen}


def held_dtype(arm: Arm, compute: Compute) -> Any:
    """How the base's weights are held: in half precision where they stay frozen and it is at hand.

    What trains is float32, whatever it is computed in; what is packed is not held as numbers.
    """
    frozen = arm.method.freezes(arm.options) and not arm.method.packs
    return compute.frozen_dtype if frozen else torch.float32


def packing_of(arm: Arm, compute: Compute) -> Packing | None:
    """How the arm's method holds the frozen base; None: as it was loaded."""
    return Packing(str(compute.device), compute.precision) if arm.method.packs else None


def head_of(objective: str, kind: str) -> Head:
    """Under which head a model learns its objective on tasks of a kind."""
    if objective == "words":
        return "words"
    return "span" if kind == "questions" else "labels"


def reload_tuned(
    folder: Path,
    ready: Ready,
    head: Head,
    labels: tuple[str, ...],
    packing: Packing | None = None,
    dtype: torch.dtype = torch.float32,
) -> Any:
    """The model of a finished arm from its weights' folder: whole, or an adapter on its base.

    Raises: ModelError where the weights do not fit.
    """
    adapter = (folder / "adapter_config.json").is_file()
    source = ready.source if adapter else resolve_model(str(folder))
    model = load_model(
        source,
        ready.config,
        ready.tokenizer,
        ready.family,
        head=head,
        labels=labels,
        dtype=dtype,
        packing=packing,
    ).model
    if not adapter:
        return model
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(str(folder), "holds no adapter_model.safetensors.", do="Run the arm again.")
    with quiet():
        from peft import PeftModel

        return PeftModel.from_pretrained(model, str(folder), use_safetensors=True).eval()


def _padding(objective: Objective, shared: Shared, seed: int) -> float:
    settings, lengths = shared.recipe.train, objective.lengths.tolist()
    grouped = lengths if settings.group_by_length else None
    batches = plan_batches(len(lengths), settings.batch_size, seed, 0, grouped)
    parts = [part for b in batches for part in split_micro(b, settings.micro_batch, lengths)]
    return padding_share(lengths, parts)
