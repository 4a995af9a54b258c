"""Trained weights: capture, write, read and restore them; and the best of them by loss on dev.

In: a model with marked trainable weights; the dev loss of each evaluation. Out: named tensors, safetensors
files. Knows nothing of: how the loss is computed, optimizers, methods, the study's file names.
"""

import errno
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from tuneproof.atomic import write_with
from tuneproof.errors import ModelError, RunError
from tuneproof.models.fsdp import local_part

Weights = dict[str, torch.Tensor]
Notes = Mapping[str, str] | None  # text by name
RESTORE_ADVICE = "Restore into the same model with the same method applied."


def capture_trained(model: nn.Module) -> Weights:
    """Copies on the CPU of the trainable parameters (or this process's parts), by name; tied ones once."""
    return {
        name: local_part(parameter.detach()).to("cpu", copy=True).contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


@torch.no_grad()
def restore_trained(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy captured weights back into the model, exactly.

    Raises: ModelError, before any weight changes, where names, shapes or dtypes are not the model's.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    unmatched = sorted(trainable.keys() ^ weights.keys())
    if unmatched:
        side = "saved weights" if unmatched[0] in trainable else "model's trainable weights"
        problem = f"is missing in the {side}, the first of {len(unmatched)}."
        raise ModelError(unmatched[0], problem, do=RESTORE_ADVICE)
    for name, parameter in trainable.items():
        saved, own = weights[name], local_part(parameter)
        if saved.shape != own.shape or saved.dtype != own.dtype:
            problem = f"was saved as {_describe(saved)}, the model has {_describe(own)}."
            raise ModelError(name, problem, do=RESTORE_ADVICE)
    for name, parameter in trainable.items():
        local_part(parameter).copy_(weights[name])


def write_weights(path: Path, weights: Mapping[str, torch.Tensor], notes: Notes = None) -> Path:
    """Write named tensors and notes as one safetensors file, complete or absent."""
    return write_with(path, lambda file: save_weights(file, weights, notes))


def save_weights(path: Path, weights: Mapping[str, torch.Tensor], notes: Notes = None) -> None:
    """The same for a file inside an atomic folder. Raises: OSError where the system refuses."""
    try:
        save_file(dict(weights), path, dict(notes or {}))
    except SafetensorError as error:
        raise OSError(errno.EIO, str(error), str(path)) from error


def read_weights(path: Path) -> Weights:
    """A file's named tensors on the CPU. Raises: ModelError where it is missing or no safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ModelError(str(path), "does not exist.", do="Run the arm again.") from None
    except SafetensorError as error:
        problem = f"is not a complete safetensors file: {error}."
        raise ModelError(str(path), problem, do="Run the arm again.") from None


@dataclass(frozen=True)
class EvaluationOutcome:
    """is_best: the evaluation has the lowest loss so far; stop: patience is exhausted."""

    is_best: bool
    stop: bool


class BestOnDev:
    """Keeps the trainable weights of the evaluation with the lowest dev loss.

    path: a safetensors file for them; None keeps them in memory. patience: stop after this many evaluations
    in a row without a lower loss; None: never. Equal is not lower: of equals the earliest is the best.

    Source: Prechelt 1998, "Early Stopping - But When?", section 2.
    Differs: counts evaluations since the best one, not rises in a row.
    """

    def __init__(self, path: Path | None = None, patience: int | None = None) -> None:
        self.path, self.patience = path, patience
        self.loss = math.inf
        self.step: int | None = None
        self.evaluations = 0
        self.evaluations_since_best = 0
        self._weights: Weights | None = None

    def record(self, model: nn.Module, dev_loss: float, step: int) -> EvaluationOutcome:
        """Record an evaluation; keep the weights of the best. Raises: RunError for a loss not finite."""
        if not math.isfinite(dev_loss):
            advice = "Lower the learning rate or lengthen the warm-up."
            raise RunError(f"step {step}", f"the loss on dev is {dev_loss}.", do=advice)
        self.evaluations += 1
        is_best = dev_loss < self.loss
        if is_best:
            self.loss, self.step, self.evaluations_since_best = dev_loss, step, 0
            self._store(model)
        else:
            self.evaluations_since_best += 1
        return EvaluationOutcome(is_best, self.is_patience_exhausted)

    def restore(self, model: nn.Module) -> int:
        """Restore the best weights; returns their step. Raises: RunError where no evaluation was recorded."""
        if self.step is None:
            raise RunError("best on dev", "no evaluation took place.", do="Evaluate at least once.")
        restore_trained(model, self.weights())
        return self.step

    def state(self) -> dict[str, Any]:
        """The counters, as JSON values; `load_state` restores them."""
        return {
            "loss": None if self.step is None else self.loss,
            "step": self.step,
            "evaluations": self.evaluations,
            "evaluations_since_best": self.evaluations_since_best,
        }

    def weights(self) -> Weights:
        """The best weights; empty where no evaluation was recorded."""
        if self.step is None:
            return {}
        if self.path is not None:
            return read_weights(self.path)
        assert self._weights is not None  # set with self.step
        return self._weights

    def load_state(self, state: Mapping[str, Any], weights: Weights) -> None:
        """Restore the results of `state` and `weights`."""
        self.step, self.evaluations = state["step"], state["evaluations"]
        self.evaluations_since_best = state["evaluations_since_best"]
        self.loss = math.inf if self.step is None else state["loss"]
        if self.step is None:
            return
        if self.path is None:
            self._weights = dict(weights)
        else:
            write_weights(self.path, weights)

    @property
    def is_patience_exhausted(self) -> bool:
        """Whether as many evaluations as `patience` passed without a lower loss."""
        return self.patience is not None and self.evaluations_since_best >= self.patience

    def _store(self, model: nn.Module) -> None:
        if self.path is not None:
            notes = {"step": str(self.step), "dev_loss": repr(self.loss)}
            write_weights(self.path, capture_trained(model), notes)
        elif self._weights is None:
            self._weights = capture_trained(model)
        else:  # in place: no second copy
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    self._weights[name].copy_(local_part(parameter.detach()))


def _describe(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
