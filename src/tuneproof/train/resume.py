"""Checkpoints of a run: complete or absent, checked before use; the newest valid one is loaded.

In: a model, its optimizer, the best on dev, the state of training. Out: folders, and all of it restored.
Knows nothing of: the training loop, its purpose, when it is stopped.

    step-<N>/            after the update of step N
        trained.safetensors    the trained weights
        best.safetensors       the best on dev, unless they are the same
        optimizer.safetensors  <weight>|<entry of AdamW's state>
        steps.jsonl            the lines written so far
        state.json             the state of training (see `TrainingState`), fp16's scaler, the fingerprint
        MANIFEST.json          SHA-256 of each

Random numbers need no state: dropout is seeded by (seed, step), the order of items by (seed, epoch).
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import tuneproof.atomic as atomic
from tuneproof.atomic import check_folder, read_json, remove_folder, write_in_folder
from tuneproof.errors import ModelError, RunError, TuneproofError
from tuneproof.models.fsdp import gather_full_tensor, gather_full_weights, is_sharded, local_parts, shard_like
from tuneproof.process_group import ProcessGroup, current_group
from tuneproof.train.checkpoint import (
    BestOnDev,
    Weights,
    capture_trained,
    read_weights,
    restore_trained,
    save_weights,
)
from tuneproof.train.loop import Step

FORMAT = 2
NAME = re.compile(r"step-(0|[1-9][0-9]{0,11})")
BAD = "bad-"  # prefix of renamed invalid checkpoints
MAX_CHECKPOINTS = 2
INTERVAL_PER_COST = 20  # writing takes at most a twentieth of the time
TRAINED, BEST, OPTIMIZER = "trained.safetensors", "best.safetensors", "optimizer.safetensors"
STATE, LINES = "state.json", "steps.jsonl"
REQUIRED = {TRAINED, OPTIMIZER, STATE, LINES}


@dataclass
class TrainingState:
    """The state of training.

    step: updates done. pending: the last one, until it is evaluated and written. halvings: of micro-batches,
    when memory ran out. train_s: seconds so far, compile_s of them for compiling. skipped: updates that were
    not finite. resumed_at: steps from which training resumed.
    """

    step: int = 0
    halvings: int = 0
    pending: Step | None = None
    is_finished: bool = False
    evaluations: list[dict[str, float]] = field(default_factory=list)
    train_s: float = 0.0
    compile_s: float = 0.0
    skipped: int = 0
    resumed_at: list[int] = field(default_factory=list)

    def stages(self) -> dict[str, float]:
        """Seconds of compiling, if any, and of the rest of training."""
        compiling = {"compile": self.compile_s} if self.compile_s else {}
        return {**compiling, "train": self.train_s - self.compile_s}

    def as_json(self) -> dict[str, Any]:
        """Plain values; a loss that is not finite is null."""
        values = asdict(self)
        if self.pending is not None and not math.isfinite(self.pending.loss):
            values["pending"]["loss"] = None
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TrainingState":
        """The inverse of `as_json`."""
        pending = values["pending"]
        if pending is not None and pending["loss"] is None:
            pending = {**pending, "loss": math.nan}
        return cls(**{**values, "pending": pending and Step(**pending)})


@dataclass(frozen=True)
class Checkpoint:
    """A valid checkpoint in memory."""

    folder: Path
    state: TrainingState
    trained: Weights
    best: Weights
    best_state: dict[str, Any]
    optimizer: Weights
    scaler: dict[str, Any] | None
    lines: bytes

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, best: BestOnDev, scaler: Any
    ) -> None:
        """Restore model, optimizer, best on dev and scaler; a sharded model's processes each their part.

        Raises: ModelError where the weights are another model's.
        """
        restore_trained(model, local_parts(model, self.trained))
        best.load_state(self.best_state, local_parts(model, self.best))
        _restore_optimizer(model, optimizer, self.optimizer)
        if scaler is not None and self.scaler is not None:
            scaler.load_state_dict(self.scaler)


def broadcast_checkpoint(checkpoint: Checkpoint | None, group: ProcessGroup) -> Checkpoint | None:
    """The main process's checkpoint, in every process."""
    if group.world_size == 1:
        return checkpoint
    weights: dict[str, Weights] = {}
    header = None
    if checkpoint is not None:
        weights = {"trained": checkpoint.trained, "best": checkpoint.best, "optimizer": checkpoint.optimizer}
        header = {
            "state": checkpoint.state.as_json(),
            "best_state": checkpoint.best_state,
            "scaler": checkpoint.scaler,
            "tensors": {
                kind: {name: [list(t.shape), str(t.dtype)] for name, t in tensors.items()}
                for kind, tensors in weights.items()
            },
        }
    header = group.broadcast(header)
    if header is None:
        return None
    for kind, tensors in header["tensors"].items():
        if kind not in weights:
            weights[kind] = {
                name: torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch.")))
                for name, (shape, dtype) in tensors.items()
            }
        group.broadcast_tensors(weights[kind].values())
    values: dict[str, Any] = {**weights, "best_state": header["best_state"], "scaler": header["scaler"]}
    state = TrainingState.from_json(header["state"])
    return checkpoint or Checkpoint(folder=Path(), state=state, lines=b"", **values)


class CheckpointManager:
    """Writes an arm's checkpoints and loads the newest valid one of the same run.

    fingerprint: of the run; accepted: fingerprints of earlier runs whose checkpoints may be used.
    every_s: seconds of training between checkpoints; None: write none in between.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        accepted: frozenset[str] = frozenset(),
        every_s: float | None = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.fingerprint, self.accepted = folder, fingerprint, accepted
        self.every_s, self.clock = every_s, clock
        self.rejected: list[str] = []
        self.written = 0
        self._last_write = clock()
        self._cost_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the next checkpoint is due."""
        if self.every_s is None:
            return False
        wait = max(self.every_s, INTERVAL_PER_COST * self._cost_s) if self.every_s else 0
        return self.clock() - self._last_write >= wait

    @property
    def newest_name(self) -> str:
        """The folder of the newest checkpoint, or a phrase that there is none."""
        numbered = self._numbered()
        return str(numbered[0][1]) if numbered else "none was written"

    def load_newest(self) -> Checkpoint | None:
        """The newest valid checkpoint; newer invalid ones are renamed, with the reason in `rejected`."""
        self._last_write = self.clock()
        atomic.remove_leftovers(self.folder)
        for _, folder in self._numbered():
            try:
                return self._read(folder)
            except (TuneproofError, OSError, KeyError, TypeError, ValueError) as error:
                new = atomic.set_aside(folder, BAD)
                reason = str(error) if isinstance(error, TuneproofError) else f"is damaged ({error!r})"
                self.rejected.append(f"{folder.name} is not used and was renamed {new.name}: {reason}")
        return None

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        best: BestOnDev,
        state: TrainingState,
        lines: bytes,
        scaler: Any = None,
    ) -> Path:
        """Write and check a checkpoint, remove the oldest; all processes call it, and the main one writes.

        Raises: RunError where it cannot be written; earlier ones stay.
        """
        start = self.clock()
        path = self.folder / f"step-{state.step}"
        keep = current_group().is_main
        if not keep and not is_sharded(model):
            return path
        trained = _full(model, capture_trained(model), keep)
        best_weights = _full(model, best.weights(), keep)
        tensors = _optimizer_tensors(model, optimizer, keep)
        if not keep:
            return path
        best_file = TRAINED if _equal(trained, best_weights) else BEST
        values = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "training": state.as_json(),
            "best": {**best.state(), "weights": best_file if best_weights else None},
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        with atomic.atomic_folder(path) as inside:
            write_in_folder(inside / TRAINED, lambda file: save_weights(file, trained))
            if best_weights and best_file == BEST:
                write_in_folder(inside / BEST, lambda file: save_weights(file, best_weights))
            write_in_folder(inside / OPTIMIZER, lambda file: save_weights(file, tensors))
            write_in_folder(inside / LINES, lambda file: file.write_bytes(lines))
            atomic.write_json(inside / STATE, values)
        check_folder(path)  # before older ones are removed
        older = [folder for step, folder in self._numbered() if step <= state.step]
        for folder in older[MAX_CHECKPOINTS:]:
            remove_folder(folder)
        self.written += 1
        self._last_write = self.clock()
        self._cost_s = self._last_write - start
        return path

    def clear(self, keep_newest: bool = False) -> None:
        """Remove the checkpoints of a complete arm, all or all but the newest; renamed invalid ones stay."""
        for _, folder in self._numbered()[int(keep_newest) :]:
            remove_folder(folder)
        atomic.remove_leftovers(self.folder)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _numbered(self) -> list[tuple[int, Path]]:
        """(step, folder) of every checkpoint by name, the highest step first; times do not matter."""
        names = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        numbered = [(int(match[1]), path) for path in names if (match := NAME.fullmatch(path.name))]
        return sorted(numbered, reverse=True)

    def _read(self, folder: Path) -> Checkpoint:
        """Raises: RunError or ModelError where it is invalid or another run's."""
        if folder.is_symlink() or not folder.is_dir():
            raise RunError(str(folder), "is not a folder.")
        check_folder(folder)
        missing = sorted(REQUIRED - set(read_json(folder / atomic.MANIFEST)))
        if missing:
            raise RunError(str(folder), f"is missing {', '.join(missing)}.")
        values = read_json(folder / STATE)
        if values["format"] != FORMAT:
            raise RunError(str(folder), f"has the format {values['format']!r}, not {FORMAT}.")
        if values["fingerprint"] != self.fingerprint and values["fingerprint"] not in self.accepted:
            raise RunError(str(folder), "belongs to another run.")
        state = TrainingState.from_json(values["training"])
        if folder.name != f"step-{state.step}":
            raise RunError(str(folder), f"is of step {state.step}.")
        trained, best_file = read_weights(folder / TRAINED), values["best"]["weights"]
        best = trained if best_file == TRAINED else read_weights(folder / BEST) if best_file else {}
        optimizer, lines = read_weights(folder / OPTIMIZER), (folder / LINES).read_bytes()
        return Checkpoint(folder, state, trained, best, values["best"], optimizer, values["scaler"], lines)


def _full(model: nn.Module, weights: Weights, keep: bool) -> Weights:
    """Full weights, gathered where the model is sharded; empty ones where they are not to be kept."""
    return gather_full_weights(model, weights, keep) if is_sharded(model) else weights


def _equal(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, keep: bool) -> Weights:
    """The optimizer's state of each trained weight, by the weight's name."""
    return {
        f"{name}|{key}": gather_full_tensor(torch.as_tensor(value), parameter, keep)
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Weights) -> None:
    """Raises: ModelError where the state is of a weight that does not train."""
    by_name = dict(model.named_parameters())
    state: dict[int, dict[str, torch.Tensor]] = {}
    groups = optimizer.state_dict()["param_groups"]
    trained = (id(parameter) for group in optimizer.param_groups for parameter in group["params"])
    index_of = dict(zip(trained, (i for group in groups for i in group["params"]), strict=True))
    for name_and_key, tensor in tensors.items():
        name, _, key = name_and_key.rpartition("|")
        if name not in by_name or id(by_name[name]) not in index_of:
            raise ModelError(name, "has an optimizer's state but does not train.")
        value = shard_like(tensor, by_name[name]) if tensor.ndim else tensor
        state.setdefault(index_of[id(by_name[name])], {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": groups})
