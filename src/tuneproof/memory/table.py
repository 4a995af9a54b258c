"""What fits: every method's peak memory, predicted, and the largest micro-batch that a memory holds.

In: a model's name, methods, batches, lengths, a memory. Out: a Fit. Nothing is loaded or allocated.
Knows nothing of: data, the terminal.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tuneproof.errors import ModelError, RecipeError, did_you_mean
from tuneproof.families import family_of
from tuneproof.families.blocks import layers_of
from tuneproof.families.models import resolve_model
from tuneproof.memory.estimate import Forecast
from tuneproof.memory.simulate_step import Scene, Subject, play
from tuneproof.memory.usage import free_bytes
from tuneproof.methods import METHODS
from tuneproof.methods.compatibility import misfit
from tuneproof.parameters.count import configuration
from tuneproof.recipe.recipe import arm_from
from tuneproof.settings import memory_bytes

MOST_ITEMS = 1024
MOST_PLAYS = 6
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Cell:
    """One method with one batch at one length (of an item; shots come on top).

    forecast: the batch on the device at once; recomputing: the same with gradient checkpointing (None
    where nothing trains). largest, largest_recomputing: items that fit at once, 0 where not even one
    does. settings: what to write for this batch, or what to change first.
    """

    method: str
    batch: int
    length: int
    forecast: Forecast
    recomputing: Forecast | None
    largest: int
    largest_recomputing: int | None
    settings: str

    @property
    def fits(self) -> bool:
        """Whether it fits in some way, the effective batch kept."""
        return max(self.largest, self.largest_recomputing or 0) > 0


@dataclass(frozen=True)
class Fit:
    """The answer for one model. `left_out`: methods that it cannot do, with the reason."""

    model: str
    memory_bytes: int
    device: str
    precision: str
    cells: tuple[Cell, ...]
    left_out: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values, the sums among them."""
        cells = [
            {
                **asdict(cell),
                "forecast": cell.forecast.as_json(),
                "recomputing": cell.recomputing.as_json() if cell.recomputing else None,
                "fits": cell.fits,
            }
            for cell in self.cells
        ]
        return {**asdict(self), "cells": cells}


def fit(
    model: str,
    memory: str = "auto",
    methods: Sequence[str] = (),
    batches: Sequence[int] = (16,),
    lengths: Sequence[int] = (256,),
    device: str = "auto",
    precision: str = "auto",
    changes: Sequence[str] = (),
) -> Fit:
    """Predict every method × batch × length, and what of it fits.

    model: shelf name, hub id, folder or configuration file. memory: an amount, of a GPU unless `device`
    says otherwise, or auto: what is free on this machine. methods: by default all that this model can
    do. changes: settings of methods, such as "lora.rank=8".

    Raises: RecipeError for an unknown method, unit, device or setting, and for a length that the model
    cannot read; ModelError where the configuration cannot be read or the model cannot do a method.
    """
    device = _device(device, memory)
    size = free_bytes(device) if memory == "auto" else memory_bytes(memory, "--memory")
    if precision == "auto":
        precision = "fp32" if device == "cpu" else "bf16"
    _check_choice("--precision", precision, PRECISIONS)
    _check_numbers(batches, lengths)
    arms = _arms(methods, changes)
    source = resolve_model(model, weights=False)
    config, _, _ = configuration(source)
    family = family_of(config)
    limit = family.position_limit(config)
    if limit is not None and max(lengths) > limit:
        raise RecipeError(
            "--length",
            f"{max(lengths)} tokens are asked for.",
            f"{source.name} can read {limit:,}.",
            "Write a smaller length.",
        )
    cells, left_out = [], []
    for arm in arms:
        reason = misfit(arm.method, arm.options, family, source.name, layers_of(config))
        if reason and methods:
            raise ModelError(source.name, reason)
        if reason:
            left_out.append(f"{arm.method_name}: {reason}")
            continue
        subject = Subject(source, config, family, arm.method, arm.options)
        for length in lengths:
            rows = _tokens(subject, length, limit)
            scene = Scene(device, precision, length=rows, predict_length=rows)  # type: ignore[arg-type]
            cells += [_cell(subject, scene, batch, length, size) for batch in batches]
    return Fit(source.name, size, device, precision, tuple(cells), tuple(left_out))


def _device(device: str, memory: str) -> str:
    _check_choice("--device", device, DEVICES)
    if device != "auto":
        return device
    if memory != "auto":
        return "cuda"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _check_choice(where: str, found: str, allowed: Sequence[str]) -> None:
    if found not in allowed:
        raise RecipeError(where, f"{found!r} is not known.", do=did_you_mean(found, allowed))


def _check_numbers(batches: Sequence[int], lengths: Sequence[int]) -> None:
    for where, numbers, most in (("--batch", batches, 65_536), ("--length", lengths, 131_072)):
        for number in numbers:
            if not 1 <= number <= most:
                raise RecipeError(
                    where, f"{number} is asked for.", f"Allowed: 1 to {most:,}, several with commas."
                )


def _arms(methods: Sequence[str], changes: Sequence[str]) -> list[Any]:
    """The methods asked for, each with its own changes."""
    able = [name for name, method in METHODS.items() if method.kind != "baseline"]
    for name in methods:
        if name not in METHODS:
            raise RecipeError("--method", f"{name!r} is not a method.", do=did_you_mean(name, able))
        if name not in able:
            raise RecipeError(
                "--method",
                f"{name} holds no model in memory: it always fits.",
                f"Allowed: {', '.join(able)}.",
            )
    names = list(methods) or able
    for change in changes:
        of = change.partition(".")[0]
        if of not in names:
            raise RecipeError(
                f"--set {change}", f"{of} is not among the methods.", do=did_you_mean(of, names)
            )
    return [arm_from(name, [c for c in changes if c.partition(".")[0] == name]) for name in names]


def _tokens(subject: Subject, length: int, limit: int | None) -> int:
    """Tokens of an item with the shots before it.

    Raises: RecipeError where the model cannot read as many.
    """
    shots = subject.method.shots(subject.options) if subject.method.shots is not None else 0
    tokens = length * (1 + shots)
    if limit is not None and tokens > limit:
        raise RecipeError(
            "--length",
            f"{shots} shots and an item of {length} tokens each are {tokens:,}.",
            f"{subject.source.name} can read {limit:,}.",
            "Write fewer shots or a smaller length.",
        )
    return tokens


def _cell(subject: Subject, scene: Scene, batch: int, length: int, size: int) -> Cell:
    """Forecasts of the batch at once, and the largest number of items that fits."""
    trains = subject.method.apply is not None

    def at(items: int, recompute: bool, predicting: bool = True) -> Forecast:
        return play(
            subject,
            replace(
                scene,
                micro_batch=items,
                predict_batch=items,
                accumulates=items < batch,
                recompute=recompute,
                predicts=predicting,
            ),
        )

    whole = at(batch, False)
    predicting = whole.train is None or whole.peak is not whole.train
    most = largest(lambda items: at(items, False, predicting), (batch, whole), size, MOST_ITEMS)
    recomputing: Forecast | None = None
    most_recomputing = None
    if trains:
        recomputing = replace(at(batch, True, False), predict=whole.predict)
        predicting = recomputing.peak is not recomputing.train
        found = largest(lambda items: at(items, True, predicting), (batch, recomputing), size, MOST_ITEMS)
        most_recomputing = max(found, most)
    settings = _settings(subject, scene, batch, most, most_recomputing, size)
    return Cell(subject.method.name, batch, length, whole, recomputing, most, most_recomputing, settings)


def largest(at: Callable[[int], Forecast], known: tuple[int, Forecast], size: int, most: int) -> int:
    """The largest number of items, up to `most`, whose forecast is within `size`; 0: not even one.

    Memory is affine in the items, but for another moment that may become the highest: a line through
    two forecasts, or what of one grows with the items, gives the next guess, and every answer is a
    number whose forecast was made. One more item is taken not to fit where the forecast and an item's
    share of what grows say so.
    """
    items, forecast = known
    if _least_bytes(forecast) > size:
        return 0
    made = {items: forecast}
    guess = items + (size - forecast.total_bytes) // _an_item_bytes(items, forecast)
    for _ in range(MOST_PLAYS):
        good = max((n for n, one in made.items() if one.total_bytes <= size), default=0)
        bad = min((n for n, one in made.items() if one.total_bytes > size), default=most + 1)
        if bad - good <= 1:
            return good
        if good and guess <= good:
            one_more = made[good].total_bytes + _an_item_bytes(good, made[good])
            if one_more > size:
                return good
        guess = min(max(guess, good + 1), bad - 1)
        made[guess] = at(guess)
        guess = _along_the_line({n: one.total_bytes for n, one in made.items()}, size)
    return max((n for n, one in made.items() if one.total_bytes <= size), default=0)


def _an_item_bytes(items: int, forecast: Forecast) -> int:
    """An item's share of what grows with the items."""
    peak = forecast.peak
    return max(1, (peak.activations + peak.logits + peak.cache + peak.temporary) // items)


def _least_bytes(forecast: Forecast) -> int:
    """What is there whatever the number of items."""
    least = max(peak.weights + peak.optimizer for peak in (forecast.train, forecast.predict) if peak)
    return least + forecast.terms.on_top(least)


def _along_the_line(totals: dict[int, int], size: int) -> int:
    """Where the line through the two forecasts nearest to the bound meets it."""
    near = sorted(totals, key=lambda items: abs(totals[items] - size))[:2]
    first, second = sorted(near)
    slope = (totals[second] - totals[first]) / (second - first)
    if slope <= 0:
        return second + 1
    return int(first + (size - totals[first]) / slope)


def _settings(
    subject: Subject, scene: Scene, batch: int, most: int, most_recomputing: int | None, size: int
) -> str:
    """What to write so that the batch fits, or what to change first."""
    trains = subject.method.apply is not None
    if not trains:
        if most >= batch:
            return f"as asked; up to {_at_most(most)} items at once"
        if most:
            return f"predict: {{batch_size: {most}}}"
    elif most >= batch:
        return f"as asked; micro_batch up to {_at_most(most)}"
    else:
        small = most and most * 4 >= batch
        if small or (most and (most_recomputing or 0) <= most):
            return f"train: {{micro_batch: {most}}}"
        if most_recomputing:
            micro = min(most_recomputing, batch)
            more = "" if micro == batch else f", micro_batch: {micro}"
            return f"train: {{gradient_checkpointing: true{more}}}"
    return _first(subject, scene, size)


def _at_most(items: int) -> str:
    return f"{items:,}{' and more' if items == MOST_ITEMS else ''}"


def _first(subject: Subject, scene: Scene, size: int) -> str:
    """The first change after which a single item fits."""
    one = replace(
        scene, micro_batch=1, predict_batch=1, accumulates=True, recompute=subject.method.apply is not None
    )
    tries: list[tuple[str, Subject, Scene]] = []
    now = play(subject, one)
    if scene.precision == "fp32" and scene.device != "cpu":
        tries.append(("--precision bf16", subject, replace(one, precision="bf16")))
    short = max(8, scene.length // 4)
    if _least_bytes(now) <= size:
        shorter = replace(one, length=short, predict_length=short)
        tries.append((f"texts of {short} tokens", subject, shorter))
    if now.train is not None:
        for method in METHODS.values():
            options = method.options(name=None)
            if method.kind == "tuned" and method.freezes(options):
                tries.append((method.name, replace(subject, method=method, options=options), one))
    for said, other, tried in tries:
        if play(other, tried).total_bytes <= size:
            return f"nothing fits; first: {said}"
    weights = now.peak.weights / 1e9
    return f"nothing fits: the weights alone take {weights:.1f} GB; first: a smaller model"
