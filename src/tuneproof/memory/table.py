"""The estimated peak memory of every method, and the largest micro-batch that fits a memory.

In: a model's name, methods, batches, lengths, a memory. Out: a MemoryTable. Nothing is loaded or allocated.
Knows nothing of: data, the terminal.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any, Literal

from tuneproof.errors import ModelError, RecipeError, did_you_mean
from tuneproof.families import family_of
from tuneproof.families.blocks import layers_of
from tuneproof.families.family import Family
from tuneproof.families.models import resolve_model
from tuneproof.memory.all_layers import estimate_step
from tuneproof.memory.estimate import MemoryEstimate
from tuneproof.memory.simulate_step import SimulatedArm, Workload
from tuneproof.memory.usage import free_bytes
from tuneproof.methods import METHODS
from tuneproof.methods.compatibility import why_incompatible_method
from tuneproof.models.precision import choose_precision, this_card
from tuneproof.parameters.count import load_configuration
from tuneproof.recipe.recipe import arm_from
from tuneproof.settings import parse_memory_size

MAX_ITEMS = 1024
MAX_SIMULATIONS = 6
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
PARALLEL = ("ddp", "fsdp")
Parallel = Literal["ddp", "fsdp"]
MAX_PROCESSES = 4096
STAGES = {
    "load": "all weights before they are sharded",
    "train": "a training step",
    "dev": "dev with all weights gathered",
    "checkpoint": "a checkpoint",
    "predict": "predictions with all weights",
}


@dataclass(frozen=True)
class MemoryRow:
    """One method with one batch size at one length (of an item; shots are added to it).

    estimate: the whole batch, or one process's part of it, on the device at once; with_checkpointing: the
    same with gradient checkpointing (None if nothing trains). max_items, max_items_with_checkpointing: items
    that fit at once, 0 if not even one does. settings: what to set for this batch, or what to change first.
    """

    method: str
    batch: int
    length: int
    estimate: MemoryEstimate
    with_checkpointing: MemoryEstimate | None
    max_items: int
    max_items_with_checkpointing: int | None
    settings: str

    @property
    def fits(self) -> bool:
        """Whether the batch fits with some settings that keep its effective size."""
        return max(self.max_items, self.max_items_with_checkpointing or 0) > 0


@dataclass(frozen=True)
class MemoryTable:
    """The estimates of one model. `unsupported`: methods that it cannot do, with the reason.

    precision_reason: why this precision, where none is set and the card or the model decides. processes,
    parallel: that train together, and how; all figures are of one of them.
    """

    model: str
    memory_bytes: int
    device: str
    precision: str
    rows: tuple[MemoryRow, ...]
    unsupported: tuple[str, ...]
    precision_reason: str = ""
    processes: int = 1
    parallel: Parallel = "ddp"

    def as_json(self) -> dict[str, Any]:
        """Plain values, the sums among them."""
        rows = [
            {
                **asdict(row),
                "estimate": row.estimate.as_json(),
                "with_checkpointing": row.with_checkpointing.as_json() if row.with_checkpointing else None,
                "fits": row.fits,
            }
            for row in self.rows
        ]
        return {**asdict(self), "rows": rows}


def estimate_memory(
    model: str,
    memory: str = "auto",
    methods: Sequence[str] = (),
    batches: Sequence[int] = (16,),
    lengths: Sequence[int] = (256,),
    device: str = "auto",
    precision: str = "auto",
    changes: Sequence[str] = (),
    processes: int = 1,
    parallel: Parallel = "ddp",
) -> MemoryTable:
    """Estimate the peak memory of every method × batch × length, and what fits.

    model: short name, hub id, folder or configuration file. memory: an amount, of a GPU unless `device` is
    set, or auto: what is free here. methods: default: all that this model can do. changes: "lora.rank=8".
    processes: that train together, each with its part of the batch; parallel: as compute.parallel. The
    estimates are of one process.

    Raises: RecipeError for an unknown method, unit, device or setting, a length that the model cannot read,
    or what cannot be sharded; ModelError if the configuration cannot be read or the model cannot do a method.
    """
    device = _choose_device(device, memory)
    size = free_bytes(device) if memory == "auto" else parse_memory_size(memory, "--memory")
    _check_choice("--precision", precision, PRECISIONS)
    _check_choice("--parallel", parallel, PARALLEL)
    _check_numbers(batches, lengths, processes)
    arms = _parse_methods(methods, changes)
    source = resolve_model(model, weights=False)
    config, _, _ = load_configuration(source)
    family = family_of(config)
    shards = parallel == "fsdp" and processes > 1
    precision, reason = _choose_precision(precision, device, family, config, source.name)
    if shards and precision == "fp16":
        problem = "fp16 cannot be combined with --parallel fsdp: the shards have no common loss scale."
        raise RecipeError("--precision", problem, "Allowed: bf16, fp32.", "Or leave --parallel out.")
    limit = family.position_limit(config)
    if limit is not None and max(lengths) > limit:
        problem, allowed = f"{max(lengths)} tokens are too many.", f"{source.name} can read {limit:,}."
        raise RecipeError("--length", problem, allowed, "Use a smaller length.")
    rows, unsupported = [], []
    estimates: dict[Any, MemoryEstimate] = {}  # of all methods
    each = Workload(device, precision, processes=processes, shards=shards)  # type: ignore[arg-type]
    for arm in arms:
        obstacle = why_incompatible_method(arm.method, arm.options, family, source.name, layers_of(config))
        if obstacle and methods:
            raise ModelError(source.name, obstacle)
        if shards and not obstacle:
            obstacle = _why_not_sharded(arm, bool(methods))
        if obstacle:
            unsupported.append(f"{arm.method_name}: {obstacle}")
            continue
        simulated = SimulatedArm(source, config, family, arm.method, arm.options, estimates)
        for length in lengths:
            tokens = _tokens_with_shots(simulated, length, limit)
            workload = replace(each, length=tokens, predict_length=tokens)
            rows += [_make_row(simulated, workload, batch, length, size) for batch in batches]
    return MemoryTable(
        source.name, size, device, precision, tuple(rows), tuple(unsupported), reason, processes, parallel
    )


def _choose_precision(precision: str, device: str, family: Family, config: Any, name: str) -> tuple[str, str]:
    """The precision, and why, where the card and the model decide."""
    if precision != "auto":
        return precision, ""
    return choose_precision(device, this_card(), [] if family.fits_fp16(config) else [name])


def _why_not_sharded(arm: Any, is_requested: bool) -> str:
    """Why the arm's weights cannot be sharded, or "". Raises: RecipeError where its method is requested."""
    if not arm.method.quantizes:
        return ""
    problem = "quantises its weights, which --parallel fsdp cannot shard."
    if is_requested:
        raise RecipeError(f"--methods {arm.method_name}", problem, do="Use lora, or leave --parallel out.")
    return problem


def _choose_device(device: str, memory: str) -> str:
    _check_choice("--device", device, DEVICES)
    if device != "auto":
        return device
    if memory != "auto":
        return "cuda"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _check_choice(option: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise RecipeError(option, f"{value!r} is unknown.", do=did_you_mean(value, allowed))


def _check_numbers(batches: Sequence[int], lengths: Sequence[int], processes: int) -> None:
    several = ", several with commas"
    options = (
        ("--batch", batches, 65_536, several),
        ("--length", lengths, 131_072, several),
        ("--processes", (processes,), MAX_PROCESSES, ""),
    )
    for option, numbers, maximum, how_many in options:
        for number in numbers:
            if not 1 <= number <= maximum:
                allowed = f"Allowed: 1 to {maximum:,}{how_many}."
                raise RecipeError(option, f"{number} is out of range.", allowed)


def _parse_methods(methods: Sequence[str], changes: Sequence[str]) -> list[Any]:
    """The requested methods, each with its own changes."""
    with_model = [name for name, method in METHODS.items() if method.needs_model]
    for name in methods:
        if name not in METHODS:
            raise RecipeError("--methods", f"{name!r} is not a method.", do=did_you_mean(name, with_model))
        if name not in with_model:
            problem = f"{name} holds no model in memory, so it always fits."
            raise RecipeError("--methods", problem, f"Allowed: {', '.join(with_model)}.")
    names = list(methods) or with_model
    for change in changes:
        name = change.partition(".")[0]
        if name not in names:
            problem = f"{name} is not among the methods."
            raise RecipeError(f"--set {change}", problem, do=did_you_mean(name, names))
    return [arm_from(name, [c for c in changes if c.partition(".")[0] == name]) for name in names]


def _tokens_with_shots(arm: SimulatedArm, length: int, limit: int | None) -> int:
    """Tokens of an item with the shots before it. Raises: RecipeError if the model cannot read that many."""
    shots = arm.method.shots(arm.options) if arm.method.shots is not None else 0
    tokens = length * (1 + shots)
    if limit is not None and tokens > limit:
        problem = f"{shots} shots and an item of {length} tokens each are {tokens:,}."
        allowed = f"{arm.source.name} can read {limit:,}."
        raise RecipeError("--length", problem, allowed, "Use fewer shots or a smaller length.")
    return tokens


def _make_row(arm: SimulatedArm, workload: Workload, batch: int, length: int, size: int) -> MemoryRow:
    """Estimate the whole batch at once, and find the largest number of items that fits; of one process."""
    trains = arm.method.apply is not None
    own = ceil(batch / workload.processes) if trains else batch  # every process predicts whole batches

    def estimate(items: int, checkpointing: bool, predicts: bool = True) -> MemoryEstimate:
        sizes: dict[str, Any] = {"micro_batch": items, "predict_batch": items, "accumulates": items < own}
        return estimate_step(arm, replace(workload, checkpointing=checkpointing, predicts=predicts, **sizes))

    plain = estimate(own, False)
    predicts = plain.train is None or plain.peak is not plain.train
    max_items = find_max_items(lambda items: estimate(items, False, predicts), (own, plain), size)
    name = arm.method.name
    if not trains:
        settings = _settings_to_predict(max_items, own) or _first_change(arm, workload, size)
        return MemoryRow(name, batch, length, plain, None, max_items, None, settings)
    checkpointed = replace(estimate(own, True, False), predict=plain.predict, whole=plain.whole)
    predicts = checkpointed.peak is not checkpointed.train
    first = (own, checkpointed)
    max_checkpointed = find_max_items(lambda items: estimate(items, True, predicts), first, size)
    max_checkpointed = max(max_checkpointed, max_items)
    settings = _settings_to_train(max_items, max_checkpointed, own) or _first_change(arm, workload, size)
    return MemoryRow(name, batch, length, plain, checkpointed, max_items, max_checkpointed, settings)


def find_max_items(
    estimate: Callable[[int], MemoryEstimate],
    first: tuple[int, MemoryEstimate],
    size: int,
    maximum: int = MAX_ITEMS,
) -> int:
    """The largest number of items, up to `maximum`, whose estimate is within `size`; 0 if not even one is.

    The next guess lies on a line through two estimates, or uses the growth per item of one; the result was
    estimated. One more item does not fit if the estimate plus the growth per item exceeds `size`.
    """
    items, first_estimate = first
    if _min_bytes(first_estimate) > size:
        return 0
    estimates = {items: first_estimate}
    guess = items + (size - first_estimate.total_bytes) // _bytes_per_item(items, first_estimate)
    for _ in range(MAX_SIMULATIONS):
        good = max((n for n, e in estimates.items() if e.total_bytes <= size), default=0)
        bad = min((n for n, e in estimates.items() if e.total_bytes > size), default=maximum + 1)
        if bad - good <= 1:
            return good
        if good and guess <= good:
            next_bytes = estimates[good].total_bytes + _bytes_per_item(good, estimates[good])
            if next_bytes > size:
                return good
        guess = min(max(guess, good + 1), bad - 1)
        estimates[guess] = estimate(guess)
        guess = _interpolate({n: e.total_bytes for n, e in estimates.items()}, size)
    return max((n for n, e in estimates.items() if e.total_bytes <= size), default=0)


def _bytes_per_item(items: int, estimate: MemoryEstimate) -> int:
    """Each item's share of what grows with the items."""
    peaks = estimate.peaks.values()
    return max(1, max(p.activations + p.logits + p.cache + p.temporary for p in peaks) // items)


def _min_bytes(estimate: MemoryEstimate) -> int:
    """What does not depend on the number of items."""
    tensors = max(peak.weights + peak.optimizer for peak in estimate.peaks.values())
    return tensors + estimate.overhead.total_bytes(tensors)


def _interpolate(totals: dict[int, int], size: int) -> int:
    """Where the line through the two estimates nearest to `size` reaches it."""
    first, second = sorted(sorted(totals, key=lambda items: abs(totals[items] - size))[:2])
    slope = (totals[second] - totals[first]) / (second - first)
    return int(first + (size - totals[first]) / slope) if slope > 0 else second + 1


def _settings_to_predict(max_items: int, batch: int) -> str:
    """The setting under which predictions fit; empty if there is none."""
    if max_items >= batch:
        return f"no change needed (up to {_count_items(max_items)} items per batch)"
    return f"predict: {{batch_size: {max_items}}}" if max_items else ""


def _settings_to_train(max_items: int, max_checkpointed: int, batch: int) -> str:
    """The settings under which a step fits; empty if there are none."""
    if max_items >= batch:
        return f"no change needed (micro_batch up to {_count_items(max_items)})"
    if max_items and (max_items * 4 >= batch or max_checkpointed <= max_items):
        return f"train: {{micro_batch: {max_items}}}"
    if max_checkpointed:
        more = f", micro_batch: {max_checkpointed}" if max_checkpointed < batch else ""
        return f"train: {{gradient_checkpointing: true{more}}}"
    return ""


def _count_items(items: int) -> str:
    return f"{items:,}{' or more' if items == MAX_ITEMS else ''}"


def _first_change(arm: SimulatedArm, workload: Workload, size: int) -> str:
    """The first change after which a single item fits."""
    single = replace(
        workload, micro_batch=1, predict_batch=1, accumulates=True, checkpointing=arm.method.apply is not None
    )
    estimate = estimate_step(arm, single)
    changes: list[tuple[str, SimulatedArm, Workload]] = []
    if workload.precision == "fp32" and workload.device != "cpu":
        changes.append(("--precision bf16", arm, replace(single, precision="bf16")))
    if _min_bytes(estimate) <= size:
        tokens = max(8, workload.length // 4)
        shorter = replace(single, length=tokens, predict_length=tokens)
        changes.append((f"texts of {tokens} tokens", arm, shorter))
    if estimate.train is not None:
        for method in filter(lambda entry: entry.kind == "tuned", METHODS.values()):
            options = method.options(name=None)
            if method.freezes_base(options):
                changes.append((method.name, replace(arm, method=method, options=options), single))
    for change, changed_arm, changed_workload in changes:
        if estimate_step(changed_arm, changed_workload).total_bytes <= size:
            return f"no batch size fits; first change: {change}"
    train, weights = estimate.train, estimate.peak.weights / 1e9
    if estimate.whole and train is not None and estimate.with_overhead(train) <= size:
        highest = max(estimate.peaks, key=lambda stage: estimate.peaks[stage].tensors_bytes)
        return (
            f"no batch size fits: a training step would ({estimate.with_overhead(train) / 1e9:.1f} GB), but "
            f"every process must also hold {STAGES[highest]} ({estimate.total_bytes / 1e9:.1f} GB), however "
            "many there are; first change: a smaller model"
        )
    return f"no batch size fits: the weights alone take {weights:.1f} GB; first change: a smaller model"
