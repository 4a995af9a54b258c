"""Checkpoints of a run: complete or absent, checked before use, the newest valid one wins.

In: a model, its optimizer, the best on dev, where training stands. Out: folders, and all of it back.
Knows nothing of: how training goes, what it is for, when it is stopped.

    step-<N>/            after the update of step N
        trained.safetensors    the weights that train
        best.safetensors       the best on dev, where it is not those
        optimizer.safetensors  <weight>|<what AdamW keeps of it>
        steps.jsonl            the lines written so far
        state.json             where training stands (see `Place`), the scaler of fp16, what it belongs to
        MANIFEST.json          SHA-256 of each

Random numbers need no place here: dropout is seeded by (seed, step), the order of items by (seed, epoch).
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

from tuneproof.atomic import (
    MANIFEST,
    check_folder,
    read_json,
    remove_folder,
    remove_leftovers,
    set_aside,
    whole_folder,
    write_inside,
    write_json,
)
from tuneproof.errors import ModelError, RunError, TuneproofError
from tuneproof.models.fsdp import is_sharded, made_whole, part_of, parts_of, whole_of
from tuneproof.process_group import Team, present
from tuneproof.train.checkpoint import (
    BestOnDev,
    Weights,
    capture_trained,
    read_weights,
    restore_trained,
    save_weights,
)
from tuneproof.train.loop import Step

FORMAT = 1
NAME = re.compile(r"step-(0|[1-9][0-9]{0,11})")
BAD = "bad-"  # begins the name of what was set aside
KEPT = 2  # checkpoints that stay
WORTH = 20  # writing one may take a twentieth of the time
TRAINED, BEST, OPTIMIZER = "trained.safetensors", "best.safetensors", "optimizer.safetensors"
STATE, LINES = "state.json", "steps.jsonl"
NEEDED = {TRAINED, OPTIMIZER, STATE, LINES}


@dataclass
class Place:
    """Where training stands.

    step: updates done. pending: the last of them where what follows an update (evaluation, its line)
    is not done yet. halvings: of micro-batches, for want of memory. train_s: seconds so far;
    compile_s: those of them that went into compiling layers. skipped: updates left out since they
    were not finite. resumed_at: steps from which it was taken up.
    """

    step: int = 0
    halvings: int = 0
    pending: Step | None = None
    done: bool = False
    evaluations: list[dict[str, float]] = field(default_factory=list)
    train_s: float = 0.0
    compile_s: float = 0.0
    skipped: int = 0
    resumed_at: list[int] = field(default_factory=list)

    def stages(self) -> dict[str, float]:
        """Seconds of compiling, where there were any, and of training beside them."""
        told = {"compile": self.compile_s} if self.compile_s else {}
        return {**told, "train": self.train_s - self.compile_s}

    def as_json(self) -> dict[str, Any]:
        """Plain values; a loss that is not finite is null."""
        found = asdict(self)
        if self.pending is not None and not math.isfinite(self.pending.loss):
            found["pending"]["loss"] = None
        return found

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Place":
        """What `as_json` gave."""
        pending = found["pending"]
        if pending is not None:
            loss = math.nan if pending["loss"] is None else pending["loss"]
            pending = Step(**{**pending, "loss": loss})
        return cls(**{**found, "pending": pending})


@dataclass(frozen=True)
class Checkpoint:
    """A valid one, read back."""

    folder: Path
    place: Place
    trained: Weights
    best: Weights
    best_state: dict[str, Any]
    optimizer: Weights
    scaler: dict[str, Any] | None
    lines: bytes

    def put_back(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, best: BestOnDev, scaler: Any
    ) -> None:
        """Give model, optimizer, best on dev and scaler what they had.

        Where the model is shared out over processes, each takes its part of what is whole here.

        Raises: ModelError where weights are not those of the model.
        """
        restore_trained(model, parts_of(model, self.trained))
        best.take_back(self.best_state, parts_of(model, self.best))
        _restore_optimizer(model, optimizer, self.optimizer)
        if scaler is not None and self.scaler is not None:
            scaler.load_state_dict(self.scaler)


def handed_out(found: Checkpoint | None, team: Team) -> Checkpoint | None:
    """The leader's checkpoint, in every process."""
    if team.size == 1:
        return found
    sets = (
        {} if found is None else {"trained": found.trained, "best": found.best, "optimizer": found.optimizer}
    )
    about = team.say(
        None
        if found is None
        else {
            "place": found.place.as_json(),
            "best_state": found.best_state,
            "scaler": found.scaler,
            "tensors": {
                kind: {name: [list(t.shape), str(t.dtype)] for name, t in tensors.items()}
                for kind, tensors in sets.items()
            },
        }
    )
    if about is None:
        return None
    for kind, named in about["tensors"].items():
        made = {
            name: torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch.")))
            for name, (shape, dtype) in named.items()
        }
        sets[kind] = sets.get(kind, made)
        team.copy_from_leader(sets[kind].values())
    return found or Checkpoint(
        folder=Path(),
        place=Place.of(about["place"]),
        best_state=about["best_state"],
        scaler=about["scaler"],
        lines=b"",
        **sets,
    )


class Keeper:
    """Writes an arm's checkpoints and finds the newest that is valid and its own.

    folder: where they are. belongs: what they belong to; accepted: other such texts that are taken for
    it. every_s: seconds of training after which one is due; None: never.
    """

    def __init__(
        self,
        folder: Path,
        belongs: str,
        accepted: frozenset[str] = frozenset(),
        every_s: float | None = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.belongs, self.accepted = folder, belongs, accepted
        self.every_s, self.clock = every_s, clock
        self.set_aside: list[str] = []
        self.written = 0
        self._last = clock()
        self._cost = 0.0

    @property
    def due(self) -> bool:
        """Whether so much time has passed that another one is worth its writing."""
        if self.every_s is None:
            return False
        wait = max(self.every_s, WORTH * self._cost) if self.every_s else 0
        return self.clock() - self._last >= wait

    @property
    def newest_name(self) -> str:
        """The newest one's folder, or that there is none."""
        found = self._numbered()
        return str(found[0][1]) if found else "none was written"

    def newest(self) -> Checkpoint | None:
        """The newest valid checkpoint; newer ones that are not are set aside, with the reason.

        Also begins to count the time to the next one.
        """
        self._last = self.clock()
        remove_leftovers(self.folder)
        for _, folder in self._numbered():
            try:
                return self._read(folder)
            except (TuneproofError, OSError, KeyError, TypeError, ValueError) as error:
                new = set_aside(folder, BAD)
                what = str(error) if isinstance(error, TuneproofError) else f"is damaged ({error!r})"
                self.set_aside.append(f"{folder.name} is not used and was renamed {new.name}: {what}")
        return None

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        best: BestOnDev,
        place: Place,
        lines: bytes,
        scaler: Any = None,
    ) -> Path:
        """Write a checkpoint, check it, and let the oldest go.

        Of several processes all call it, and the leader writes.

        Raises: RunError where it cannot be written; the earlier ones stand then.
        """
        begun = self.clock()
        path = self.folder / f"step-{place.step}"
        trained, kept = capture_trained(model), best.kept()
        tensors = _optimizer_tensors(model, optimizer)
        if is_sharded(model):
            trained, kept = made_whole(model, trained), made_whole(model, kept)
        if not present().leads:
            return path
        same = _equal(trained, kept)
        state = {
            "format": FORMAT,
            "belongs": self.belongs,
            "place": place.as_json(),
            "best": {**best.state(), "weights": _where(kept, same)},
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        with whole_folder(path) as inside:
            write_inside(inside / TRAINED, lambda file: save_weights(file, trained))
            if kept and not same:
                write_inside(inside / BEST, lambda file: save_weights(file, kept))
            write_inside(inside / OPTIMIZER, lambda file: save_weights(file, tensors))
            write_inside(inside / LINES, lambda file: file.write_bytes(lines))
            write_json(inside / STATE, state)
        check_folder(path)  # before an older one goes
        older = [folder for step, folder in self._numbered() if step <= place.step]
        for folder in older[KEPT:]:
            remove_folder(folder)
        self.written += 1
        self._last = self.clock()
        self._cost = self._last - begun
        return path

    def clear(self) -> None:
        """Remove the checkpoints of an arm that is complete; what was set aside stays."""
        for _, folder in self._numbered():
            remove_folder(folder)
        remove_leftovers(self.folder)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _numbered(self) -> list[tuple[int, Path]]:
        """(step, folder) of everything called as one, the highest step first; clocks do not matter."""
        names = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        found = [(int(match[1]), path) for path in names if (match := NAME.fullmatch(path.name))]
        return sorted(found, reverse=True)

    def _read(self, folder: Path) -> Checkpoint:
        """Raises what is wrong with it."""
        if folder.is_symlink() or not folder.is_dir():
            raise RunError(str(folder), "is not a folder.")
        check_folder(folder)
        listed = set(read_json(folder / MANIFEST))
        lacking = sorted(NEEDED - listed)
        if lacking:
            raise RunError(str(folder), f"lacks {', '.join(lacking)}.")
        state = read_json(folder / STATE)
        if state["format"] != FORMAT:
            raise RunError(str(folder), f"has the format {state['format']!r}, not {FORMAT}.")
        if state["belongs"] != self.belongs and state["belongs"] not in self.accepted:
            raise RunError(str(folder), "belongs to another run.")
        place = Place.of(state["place"])
        if folder.name != f"step-{place.step}":
            raise RunError(str(folder), f"is of step {place.step}.")
        trained = read_weights(folder / TRAINED)
        where = state["best"]["weights"]
        return Checkpoint(
            folder=folder,
            place=place,
            trained=trained,
            best=trained if where == TRAINED else read_weights(folder / BEST) if where else {},
            best_state=state["best"],
            optimizer=read_weights(folder / OPTIMIZER),
            scaler=state["scaler"],
            lines=(folder / LINES).read_bytes(),
        )


def _where(kept: Weights, same: bool) -> str | None:
    return (TRAINED if same else BEST) if kept else None


def _equal(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> Weights:
    """What the optimizer keeps of each trained weight, by the weight's name."""
    return {
        f"{name}|{key}": whole_of(torch.as_tensor(value), parameter)
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Weights) -> None:
    """Raises ModelError where they are of other weights."""
    by_name = dict(model.named_parameters())
    state: dict[int, dict[str, torch.Tensor]] = {}
    groups = optimizer.state_dict()["param_groups"]
    live = [p for group in optimizer.param_groups for p in group["params"]]
    places = {id(p): place for p, place in zip(live, _flat(groups), strict=True)}
    for key, tensor in tensors.items():
        name, _, what = key.rpartition("|")
        if name not in by_name or id(by_name[name]) not in places:
            raise ModelError(name, "has an optimizer's state and is not trained.")
        held = part_of(tensor, by_name[name]) if tensor.ndim else tensor
        state.setdefault(places[id(by_name[name])], {})[what] = held
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _flat(groups: list[dict[str, Any]]) -> list[int]:
    return [place for group in groups for place in group["params"]]
