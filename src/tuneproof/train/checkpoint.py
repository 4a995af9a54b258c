"""Trained weights: captured, written, read, put back; and the best of them by loss on dev.

In: a model with marked trainable weights; a dev loss an evaluation. Out: named tensors, safetensors files.
Knows nothing of: how the loss came about, optimizers, methods, the study's file names.
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
from tuneproof.models.fsdp import own_part

Weights = dict[str, torch.Tensor]


def capture_trained(model: nn.Module) -> Weights:
    """Copies of the trainable parameters on the CPU, by name; tied weights once.

    Of a model that is shared out over processes: of what this one holds.
    """
    return {
        name: own_part(parameter.detach()).to("cpu", copy=True).contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


@torch.no_grad()
def restore_trained(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Put captured weights back in place, exactly.

    Raises: ModelError where names, shapes or dtypes are not those of the model's trainable weights;
    nothing is moved then.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    odd = sorted(trainable.keys() ^ weights.keys())
    if odd:
        side = "saved weights" if odd[0] in trainable else "model's trainable weights"
        raise ModelError(
            odd[0],
            f"is missing in the {side}, the first of {len(odd)}.",
            do="Restore into the same model with the same method applied.",
        )
    for name, parameter in trainable.items():
        saved, held = weights[name], own_part(parameter)
        if saved.shape != held.shape or saved.dtype != held.dtype:
            raise ModelError(
                name,
                f"was saved as {_kind(saved)}, the model has {_kind(held)}.",
                do="Restore into the same model with the same method applied.",
            )
    for name, parameter in trainable.items():
        own_part(parameter).copy_(weights[name])


def write_weights(
    path: Path, weights: Mapping[str, torch.Tensor], notes: Mapping[str, str] | None = None
) -> Path:
    """Write named tensors (and notes: text by name) as one safetensors file, complete or absent."""
    return write_with(path, lambda file: save_weights(file, weights, notes))


def save_weights(
    path: Path, weights: Mapping[str, torch.Tensor], notes: Mapping[str, str] | None = None
) -> None:
    """The same without the care: for a folder that is made as a whole.

    Raises: OSError where the system refuses, which safetensors says in its own way.
    """
    try:
        save_file(dict(weights), path, dict(notes or {}))
    except SafetensorError as error:
        raise OSError(errno.EIO, str(error), str(path)) from error


def read_weights(path: Path) -> Weights:
    """The named tensors of a safetensors file, on the CPU.

    Raises: ModelError where the file is missing or is not safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ModelError(str(path), "is not there.", do="Run the arm again.") from None
    except SafetensorError as error:
        raise ModelError(
            str(path), f"is not a whole safetensors file: {error}.", do="Run the arm again."
        ) from None


@dataclass(frozen=True)
class Offer:
    """What became of one evaluation. `is_best`: its weights are kept; `stop`: patience is used up."""

    is_best: bool
    stop: bool


class BestOnDev:
    """Keeps the trainable weights of the evaluation with the lowest dev loss.

    path: a safetensors file to keep them in; None keeps them in memory. patience: evaluations in a
    row without a lower loss after which `offer` says stop; None never does. Equal is not lower: of
    equals the earliest is kept.

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

    def offer(self, model: nn.Module, dev_loss: float, step: int) -> Offer:
        """Take note of an evaluation after `step`; keep the weights where its loss is the lowest.

        Raises: RunError where the loss is not finite.
        """
        if not math.isfinite(dev_loss):
            raise RunError(
                f"step {step}",
                f"the loss on dev is {dev_loss}.",
                do="Lower the learning rate or lengthen the warm-up.",
            )
        self.evaluations += 1
        is_best = dev_loss < self.loss
        if is_best:
            self.loss, self.step, self.evaluations_since_best = dev_loss, step, 0
            self._keep(model)
        else:
            self.evaluations_since_best += 1
        return Offer(is_best, self.used_up)

    def restore(self, model: nn.Module) -> int:
        """Put the best weights back into the model; returns the step that they come from.

        Raises: RunError where nothing was offered.
        """
        if self.step is None:
            raise RunError("best on dev", "no evaluation took place.", do="Evaluate at least once.")
        restore_trained(model, self._kept())
        return self.step

    def state(self) -> dict[str, Any]:
        """What it counts, as JSON takes it; `take_back` gives it and the weights to another one."""
        return {
            "loss": None if self.step is None else self.loss,
            "step": self.step,
            "evaluations": self.evaluations,
            "evaluations_since_best": self.evaluations_since_best,
        }

    def kept(self) -> Weights:
        """The best weights; empty where nothing was offered."""
        return {} if self.step is None else self._kept()

    def take_back(self, state: Mapping[str, Any], weights: Weights) -> None:
        """Go on from what `state` and `kept` gave."""
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
    def used_up(self) -> bool:
        """Whether patience is."""
        return self.patience is not None and self.evaluations_since_best >= self.patience

    def _keep(self, model: nn.Module) -> None:
        if self.path is not None:
            notes = {"step": str(self.step), "dev_loss": repr(self.loss)}
            write_weights(self.path, capture_trained(model), notes)
        elif self._weights is None:
            self._weights = capture_trained(model)
        else:  # in place: there is never a second copy
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    self._weights[name].copy_(own_part(parameter.detach()))

    def _kept(self) -> Weights:
        if self.path is None:
            assert self._weights is not None  # set with self.step
            return self._weights
        return read_weights(self.path)


def _kind(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
