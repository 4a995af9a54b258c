"""The parameter ledger: base, dropped, added, adapters, packing, each line with its sign and reason.

In: a tuned model and its base's configuration. Out: lines that add up to the total, exactly.
Knows nothing of: data, training.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuneproof.parameters.quantized import Packed, packed_now, true_size

SHOWN_WEIGHTS = 4


@dataclass(frozen=True)
class LedgerLine:
    """`count` parameters were added (positive) or dropped (negative), and why."""

    what: str
    count: int
    why: str


@dataclass(frozen=True)
class Ledger:
    """`base` and the lines add up to `total`; `trainable` of them get a gradient."""

    base: int
    total: int
    trainable: int
    lines: tuple[LedgerLine, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for ledger.json."""
        return asdict(self)


def parameter_sizes(model: Any) -> dict[str, int]:
    """Name to number of weights; a tied weight counts once, under its first name."""
    return {name: true_size(parameter) for name, parameter in model.named_parameters()}


def _plain(name: str, model: Any) -> str:
    """The name that a parameter has without adapters around it, and without a head on the model."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    prefix = inner.base_model_prefix  # a span head's class may call the same trunk otherwise
    return (
        name.replace("base_model.model.", "")
        .replace("modules_to_save.default.", "")
        .replace(".base_layer.", ".")
        .removeprefix(f"{prefix}.")
    )


def _group(name: str, plain: str, head: Sequence[str]) -> str:
    if ".lora_" in name or name.startswith("lora_") or "lora_magnitude" in name:
        return "adapters"
    if ".original_module." in name:
        return "shadow"
    return "trunk" if set(head).isdisjoint(plain.split(".")) else "head"


def fresh_ahead(model: Any, pretrained: Any, held: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the model's weights that a checkpoint of the pretrained architecture does not hold.

    held: modules that it holds all the same.
    """
    there = {_plain(n, pretrained): size for n, size in parameter_sizes(pretrained).items()}
    return tuple(
        name
        for name, size in parameter_sizes(model).items()
        if there.get(plain := _plain(name, model)) != size and not plain.startswith(tuple(held))
    )


def parameter_ledger(
    model: Any,
    pretrained: Any,
    family: Any,
    *,
    trainable: int | None = None,
    probe: int = 0,
    unused: Sequence[str] = (),
    fresh: Sequence[str] = (),
    packed: Packed | None = None,
) -> Ledger:
    """Explain every parameter between the pretrained model and the tuned one.

    `pretrained` is the pretrained architecture, on the meta device; `family` names the modules of a
    head; `probe` is the size of a linear head that lives beside the model, `unused` the modules of
    the model that it does not read; `fresh` the weights that the checkpoint did not hold; `packed`
    what will be held in 4 bits (None: what is). `trainable` says what trains where gradients do not
    tell (a probe on a frozen base).
    """
    base = sum(parameter_sizes(pretrained).values())
    left = {_plain(name, pretrained): weight for name, weight in pretrained.named_parameters()}
    trunk = {_plain(name, pretrained) for name in parameter_sizes(pretrained.base_model)}
    kept: dict[str, dict[str, Any]] = {"trunk": {}, "head": {}, "adapters": {}, "shadow": {}}
    for name, weight in model.named_parameters():
        plain = _plain(name, model)
        group = _group(name, plain, family.head_modules)
        if plain.split(".")[0] in unused:
            continue
        same = plain in left and true_size(left[plain]) == true_size(weight)
        if group in ("trunk", "head") and same:
            del left[plain]
            continue
        kept[group][plain] = weight
    lines = [*_dropped(left, trunk, family), *_added(kept["trunk"], [_plain(name, model) for name in fresh])]
    if kept["head"]:
        why = f"{_named(kept['head'])}: not in the checkpoint"
        lines.append(LedgerLine("head", _sum(kept["head"]), why))
    if probe:
        lines.append(LedgerLine("head", probe, "linear head on pooled features"))
    if kept["adapters"]:
        lines.append(LedgerLine("adapters", _sum(kept["adapters"]), _beside(kept["adapters"])))
    packed = packed or packed_now(model)
    if packed is not None:
        lines.append(_packing_line(packed))
    if trainable is None:
        trainable = sum(true_size(p) for p in model.parameters() if p.requires_grad)
    total = base + sum(line.count for line in lines)
    return Ledger(base, total, trainable, tuple(lines))


def probe_ledger(base: Any, pretrained: Any, family: Any, size: int) -> Ledger:
    """The ledger of a linear head of `size` weights on pooled features of the frozen base.

    `base` is the model without a head; its pooler is loaded and not read.
    """
    return parameter_ledger(base, pretrained, family, trainable=size, probe=size, unused=("pooler",))


def _named(weights: Mapping[str, Any]) -> str:
    """'score.weight 2 × 2,048', or the outermost modules where the weights are many."""
    if len(weights) > SHOWN_WEIGHTS:
        return ", ".join(dict.fromkeys(name.split(".")[0] for name in weights))
    return ", ".join(
        f"{name} {' × '.join(f'{length:,}' for length in weight.shape)}" for name, weight in weights.items()
    )


def _sum(weights: Mapping[str, Any]) -> int:
    return sum(true_size(weight) for weight in weights.values())


def _beside(adapters: Mapping[str, Any]) -> str:
    """'rank 8 beside 112 linear layers, 8 × (in + out) each'."""
    down = [weight for name, weight in adapters.items() if ".lora_A." in name]
    rank = down[0].shape[0]
    more = ", and a magnitude an output" if any("magnitude" in name for name in adapters) else ""
    return f"rank {rank} beside {len(down)} linear layers: {rank} × (in + out) each{more}"


def _dropped(left: dict[str, Any], trunk: set[str], family: Any) -> Iterator[LedgerLine]:
    """What the pretrained architecture has and the tuned model has not: its head, parts of its trunk."""
    head = {plain: weight for plain, weight in left.items() if plain not in trunk}
    rest = {plain: weight for plain, weight in left.items() if plain in trunk}
    words = any(plain.startswith(family.words_head) for plain in head)
    what = "the language-model head" if words else "the pretrained model's own head"
    for part, why in (
        (head, f"{what}, which this arm does not use"),
        (rest, "part of the pretrained model that this arm does not use"),
    ):
        if part:
            yield LedgerLine("dropped", -_sum(part), f"{_named(part)}: {why}")


def _added(trunk: dict[str, Any], fresh: Sequence[str]) -> Iterator[LedgerLine]:
    """What the tuned model has in its trunk and the pretrained architecture has not."""
    if trunk:
        new = not set(fresh).isdisjoint(trunk)
        why = "not in the checkpoint" if new else "in the checkpoint, though not named as saved"
        yield LedgerLine("added", _sum(trunk), f"{_named(trunk)}: {why}")


def _packing_line(packed: Packed) -> LedgerLine:
    return LedgerLine(
        "packed to 4 bits",
        0,
        f"{packed.weights:,} weights in {packed.size_bytes:,} bytes, where 16 bits a weight take "
        f"{2 * packed.weights:,}; two weights share a byte, and each counts as one",
    )
