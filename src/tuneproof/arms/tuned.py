"""A tuned arm: a convex fit of the head, a training loop, or the one after the other.

In: what all arms share, one arm, a ready model, a seed. Out: events and an Outcome.
Knows nothing of: other arms, scores.
"""

import json
import math
import time
from pathlib import Path
from typing import Any, TextIO

import torch

from tuneproof.arms.event import Advanced, Running, Said, StageBegun
from tuneproof.arms.objective import Objective, make_objective
from tuneproof.arms.probe import fit_model_head, run_probe
from tuneproof.arms.ready import Compute, Ready
from tuneproof.arms.shared import Outcome, Shared, decided
from tuneproof.arms.showing import encoding_of
from tuneproof.arms.span_probe import fit_span_head, run_span_probe
from tuneproof.arms.spans import SpanObjective
from tuneproof.arms.trunk import read_trunk
from tuneproof.data.batches import (
    collate_epoch,
    count_batches,
    padding_share,
    plan_batches,
    split_micro,
)
from tuneproof.errors import ModelError, RunError
from tuneproof.families.models import resolve_model
from tuneproof.files import make_folder, private
from tuneproof.ledger.parameters import parameter_ledger
from tuneproof.model.load import Head, load_model, pretrained_on_meta, quiet
from tuneproof.model.packing import Packing
from tuneproof.model.shortage import recompute_activations
from tuneproof.predict.answers import AnswerPredictions
from tuneproof.recipe import Arm
from tuneproof.train.checkpoint import BestOnDev
from tuneproof.train.loop import Step, fit
from tuneproof.train.optimizer import make_optimizer, make_schedule
from tuneproof.train.trackers import open_trackers, track

AT_ONCE = 1 << 20  # weights that are summed at once


def run_tuned(
    shared: Shared, arm: Arm, ready: Ready, compute: Compute, seed: int, steps_file: Path
) -> Running[Outcome]:
    """Load, fit the head where the method says so, train, keep the best on dev, predict.

    Returns the Outcome.
    """
    if arm.method.apply is None:
        run = run_span_probe if shared.kind == "questions" else run_probe
        return (yield from run(shared, arm, ready, compute))
    options: Any = arm.options
    seconds: dict[str, float] = {}
    begun = time.perf_counter()
    yield StageBegun("load", None)
    objective_name = getattr(options, "objective", "head")
    loaded = load_model(
        ready.source,
        ready.config,
        ready.tokenizer,
        ready.family,
        head=head_of(objective_name, shared.kind),
        labels=shared.labels,
        random=getattr(options, "weights", "pretrained") == "random",
        dtype=held_dtype(arm, compute),
        packing=packing_of(arm, compute),
        seed=seed,
    )
    model = loaded.model.to(compute.device)
    objective = make_objective(objective_name, shared, ready, compute)
    seconds["load"] = time.perf_counter() - begun
    chosen: dict[str, Any] = {}
    if arm.method.probe:
        begun = time.perf_counter()
        if isinstance(objective, SpanObjective):
            chosen["head"] = yield from fit_span_head(model, objective, options)
        else:
            chosen["head"] = yield from fit_model_head(model, shared, ready, compute, options)
        seconds["probe"] = time.perf_counter() - begun
    torch.manual_seed(seed)
    with quiet():
        model = arm.method.apply(model, ready.family, options, loaded.fresh).to(compute.device)
    if shared.recipe.train.gradient_checkpointing:
        recompute_activations(model)
    trunk = yield from read_trunk(model, objective, shared, arm, ready, compute, seed, seconds)
    begun = time.perf_counter()
    chosen |= yield from _train(model, objective, arm, shared, compute, seed, steps_file)
    seconds["train"] = time.perf_counter() - begun
    begun = time.perf_counter()
    splits = shared.splits
    yield StageBegun("predict", len(splits.dev) + len(splits.test))
    dev = yield from objective.ask(model, splits.dev, "dev")
    test = yield from objective.ask(model, splits.test, "test")
    if isinstance(dev, AnswerPredictions):
        known = decided(dev, test)
        dev, test = known.dev, known.test
        chosen |= {"answers": known.chosen}
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
        chosen=chosen,
        time_s=seconds,
        encoding={
            **encoding_of(test, ready.max_length),
            "padding_share": _padding(objective, shared, seed),
        },
        prompts=objective.shown(),
        notes=[*ready.notes, *loaded.notes],
        save=save,
    )


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
    from peft import PeftModel

    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            str(folder), "holds no adapter_model.safetensors.", do="Run the arm again."
        )
    with quiet():
        return PeftModel.from_pretrained(model, str(folder), use_safetensors=True).eval()


def _padding(objective: Objective, shared: Shared, seed: int) -> float:
    settings, lengths = shared.recipe.train, objective.lengths.tolist()
    grouped = lengths if settings.group_by_length else None
    batches = plan_batches(len(lengths), settings.batch_size, seed, 0, grouped)
    parts = [part for b in batches for part in split_micro(b, settings.micro_batch, lengths)]
    return padding_share(lengths, parts)


def _train(
    model: Any,
    objective: Objective,
    arm: Arm,
    shared: Shared,
    compute: Compute,
    seed: int,
    steps_file: Path,
) -> Running[dict[str, Any]]:
    """The loop, with evaluation on dev and the best weights put back. Returns what dev chose."""
    settings: Any = shared.recipe.train
    options: Any = arm.options
    dev, ids = shared.splits.dev, objective.unit_ids
    per_epoch = count_batches(len(ids), settings.batch_size)
    epochs = getattr(options, "epochs", None) or settings.epochs
    epochs = max(epochs, math.ceil(settings.min_steps / per_epoch))
    asked = settings.evals_per_epoch
    places = {per_epoch * place // asked for place in range(1, asked + 1)}  # the end is one
    best = BestOnDev(patience=settings.patience)
    before = _fingerprint(model)
    steps = fit(
        model,
        lambda epoch: collate_epoch(
            ids, objective.collate, settings.batch_size, seed, epoch, settings.micro_batch,
            objective.lengths.tolist(), settings.group_by_length,
        ),
        objective.loss,
        objective.count,
        make_optimizer(model, options.learning_rate, settings.weight_decay),
        make_schedule(settings.schedule, per_epoch * epochs, settings.warmup_share),
        epochs=epochs,
        steps_per_epoch=per_epoch,
        clip_norm=settings.clip_norm,
        seed=seed,
        accelerator=compute.accelerator,
    )  # fmt: skip
    yield StageBegun("train", per_epoch * epochs, "steps")
    make_folder(steps_file.parent)
    evaluations: list[dict[str, float]] = []
    found: dict[str, float]
    if arm.method.probe:  # the fitted head itself is a candidate: training may only hurt
        found = yield from objective.measure(model, dev)
        evaluations.append({"step": 0, "epoch": 0.0, **found})
        best.offer(model, found["dev_loss"], 0)
    folder = steps_file.parent
    sent = open_trackers(settings.trackers, folder.parent.parent, folder.name)
    with open(steps_file, "w", encoding="utf-8", opener=private) as file, sent as trackers:
        for step in steps:
            found = {}
            stop = False
            if step.retries:
                yield Said(_cut_smaller(step), "warning", noted=True)
            yield Advanced(1, f"loss {step.loss:.3f}")
            if (step.step - 1) % per_epoch + 1 in places:
                yield StageBegun("dev", len(dev))
                found = yield from objective.measure(model, dev)
                evaluations.append({"step": step.step, "epoch": step.epoch, **found})
                stop = best.offer(model, found["dev_loss"], step.step).stop
                yield StageBegun("train", per_epoch * epochs, "steps", done=step.step)
                yield Advanced(0, f"loss {step.loss:.3f}, dev {found['dev_loss']:.3f}")
            _write_step(file, step, found, trackers)
            if stop:
                break
    changed = _fingerprint(model) != before
    chosen_step = best.restore(model)
    if not changed:
        raise RunError(arm.name, "no weight changed in training.", do="Raise the learning rate.")
    return {
        "step": chosen_step,
        "epoch": chosen_step / per_epoch,
        "dev_loss": best.loss,
        "by": "lowest loss on dev",
        "evaluations": evaluations,
        "steps_done": step.step,
    }


def _cut_smaller(step: Step) -> str:
    return (
        f"Memory ran out in step {step.step}; it was taken again, and later ones are, in "
        f"{step.micro_batches} micro-batches: the same items, the same update (where there is dropout, "
        "other draws of it)."
    )


def _fingerprint(model: Any) -> list[float]:
    """Sums of the trainable weights, which training must change; no weight is copied whole."""
    return [
        sum(float(piece.double().sum()) for piece in p.detach().flatten().split(AT_ONCE))
        for p in model.parameters()
        if p.requires_grad
    ]


def _write_step(file: TextIO, step: Step, found: dict[str, float], trackers: list[Any]) -> None:
    line = {
        "step": step.step,
        "epoch": step.epoch,
        "loss": step.loss,
        "dev_loss": found.get("dev_loss"),
        "dev_accuracy": found.get("dev_accuracy"),
        "dev_f1": found.get("dev_f1"),
        "learning_rate": step.learning_rate,
        "gradient_norm": step.gradient_norm,
        "count": step.count,
        "tokens": step.tokens,
        "tokens_per_s": step.tokens_per_s,
        "time_s": step.time_s,
        "skipped": step.skipped,
        "micro_batches": step.micro_batches,
    }
    file.write(json.dumps(line) + "\n")
    file.flush()
    track(trackers, line, step.step)
