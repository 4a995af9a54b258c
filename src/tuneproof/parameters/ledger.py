"""The parameter ledger: base, dropped, added, head, adapters, quantised; each line with its reason.

In: a tuned model and the pretrained architecture. Out: lines that add up to the total, exactly.
Knows nothing of: data, training, single methods.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuneproof.families.blocks import is_embedding
from tuneproof.parameters.left_out import left_out_lines
from tuneproof.parameters.quantized import QuantizedSize, count_weights, measure_quantized

MAX_LISTED_WEIGHTS = 4


@dataclass(frozen=True)
class LedgerLine:
    """`count` parameters were added (positive) or dropped (negative), and the reason."""

    part: str
    count: int
    reason: str


@dataclass(frozen=True)
class Ledger:
    """`base` and the lines add up to `total`; `trainable` of them get a gradient.

    `embeddings`: those of `total` in tables of embeddings; `trainable_embeddings`: those of `trainable`.
    """

    base: int
    total: int
    trainable: int
    lines: tuple[LedgerLine, ...]
    embeddings: int = 0
    trainable_embeddings: int = 0

    @property
    def trainable_share_of_others(self) -> float | None:
        """The trainable share of the weights other than embeddings; None unless embeddings are most."""
        if 2 * self.embeddings <= self.total:
            return None
        return (self.trainable - self.trainable_embeddings) / (self.total - self.embeddings)

    def as_json(self) -> dict[str, Any]:
        """Plain values for ledger.json."""
        return {**asdict(self), "trainable_share_of_others": self.trainable_share_of_others}


def parameter_sizes(model: Any) -> dict[str, int]:
    """Number of weights by name; a tied weight counts once, under its first name."""
    return {name: count_weights(parameter) for name, parameter in model.named_parameters()}


def _plain_name(name: str, model: Any) -> str:
    """A parameter's name in the bare base model: without adapters around it, without a head on top."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    prefix = inner.base_model_prefix  # the class of a span head may call the base model otherwise
    return (
        name.replace("base_model.model.", "")
        .replace("modules_to_save.default.", "")
        .replace(".base_layer.", ".")
        .removeprefix(f"{prefix}.")
    )


def _adapted_layers(model: Any) -> dict[str, str]:
    """Each parameter that peft added, with the layer that it adapts ("" if it adapts none)."""
    layers = {}
    for layer, module in model.named_modules():
        if "base_layer" in module._modules:  # peft wraps an adapted layer, whatever the method
            for name, _ in module.named_parameters():
                if not name.startswith("base_layer."):
                    layers[f"{layer}.{name}"] = layer
    if hasattr(model, "get_base_model"):  # soft prompts stand beside the base model
        names = (name for name, _ in model.named_parameters())
        layers |= {name: "" for name in names if not name.startswith("base_model.")}
    return layers


def fresh_weight_names(model: Any, pretrained: Any, unnamed_modules: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the model's weights that a checkpoint of the pretrained architecture does not hold.

    unnamed_modules: those that it holds although its architecture does not name them.
    """
    sizes = {_plain_name(n, pretrained): size for n, size in parameter_sizes(pretrained).items()}
    return tuple(
        name
        for name, size in parameter_sizes(model).items()
        if sizes.get(plain := _plain_name(name, model)) != size
        and not plain.startswith(tuple(unnamed_modules))
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
    quantized: QuantizedSize | None = None,
) -> Ledger:
    """Explain every parameter between the pretrained model and the tuned one.

    pretrained: the pretrained architecture, on the meta device. family: names the modules of a head.
    trainable: the number of weights that train (None: those that require a gradient). probe: size of a
    linear head beside the model. unused: modules that the probe does not read. fresh: weights that the
    checkpoint does not hold. quantized: size of the weights to be quantised (None: measured).
    """
    base = sum(parameter_sizes(pretrained).values())
    dropped = {_plain_name(name, pretrained): weight for name, weight in pretrained.named_parameters()}
    base_names = {_plain_name(name, pretrained) for name in parameter_sizes(pretrained.base_model)}
    adapted = _adapted_layers(model)
    fresh_names = [_plain_name(name, model) for name in fresh]
    new: dict[str, Any] = {}
    new_head: dict[str, Any] = {}
    for name, weight in model.named_parameters():
        plain = _plain_name(name, model)
        if name in adapted or ".original_module." in name or plain.split(".")[0] in unused:
            continue
        if _is_same(dropped.get(plain), weight) and not (plain in fresh_names and _in_head(plain, family)):
            del dropped[plain]
        elif _in_head(plain, family):
            new_head[plain] = weight
        else:
            new[plain] = weight
    lines = [*_dropped_lines(dropped, base_names, family), *_added_lines(new, fresh_names)]
    if new_head:
        lines.append(LedgerLine("head", _total(new_head), f"{_describe(new_head)}: not in the checkpoint"))
    if probe:
        lines.append(LedgerLine("head", probe, "linear head on pooled features"))
    if adapted:
        adapters = {name: weight for name, weight in model.named_parameters() if name in adapted}
        lines.append(LedgerLine("adapters", _total(adapters), _describe_adapters(adapters, adapted)))
    quantized = quantized or measure_quantized(model)
    if quantized is not None:
        lines.append(_quantized_line(quantized))
    lines += (LedgerLine(part, 0, reason) for part, reason in left_out_lines(model))
    embeddings, trained_embeddings = _count_embeddings(model)
    total = base + sum(line.count for line in lines)
    if trainable is not None:
        return Ledger(base, total, trainable, tuple(lines), embeddings)
    trainable = sum(count_weights(p) for p in model.parameters() if p.requires_grad)
    return Ledger(base, total, trainable, tuple(lines), embeddings, trained_embeddings)


def _is_same(pretrained_weight: Any, weight: Any) -> bool:
    return pretrained_weight is not None and count_weights(pretrained_weight) == count_weights(weight)


def _in_head(plain_name: str, family: Any) -> bool:
    return plain_name.split(".")[0] in family.head_modules


def _count_embeddings(model: Any) -> tuple[int, int]:
    """The weights in tables of embeddings, and those of them that require a gradient."""
    tables = {id(p): p for m in model.modules() if is_embedding(m) for p in m.parameters(recurse=False)}
    sizes = [(count_weights(table), table.requires_grad) for table in tables.values()]
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)


def probe_ledger(base: Any, pretrained: Any, family: Any, size: int) -> Ledger:
    """The ledger of a linear head of `size` weights on the frozen base, whose pooler the probe ignores."""
    return parameter_ledger(base, pretrained, family, trainable=size, probe=size, unused=("pooler",))


def _describe(weights: Mapping[str, Any]) -> str:
    """'score.weight 2 × 2,048', or only the outermost modules if there are many weights."""
    if len(weights) > MAX_LISTED_WEIGHTS:
        return ", ".join(dict.fromkeys(name.split(".")[0] for name in weights))
    shapes = {name: " × ".join(f"{length:,}" for length in weight.shape) for name, weight in weights.items()}
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _total(weights: Mapping[str, Any]) -> int:
    return sum(count_weights(weight) for weight in weights.values())


def _describe_adapters(adapters: Mapping[str, Any], adapted: Mapping[str, str]) -> str:
    """'rank 8 beside 112 linear layers: 8 × (in + out) each', or the sizes per layer of another form."""
    by_layer: dict[str, list[Any]] = {}
    for name, weight in adapters.items():
        by_layer.setdefault(adapted[name], []).append(weight)
    ranks = {_rank(weights) for weights in by_layer.values()}
    if len(ranks) == 1 and None not in ranks:
        (rank,) = ranks
        has_vectors = any(weight.ndim == 1 for weight in adapters.values())
        vectors = ", and a magnitude per output" if has_vectors else ""
        return f"rank {rank} beside {len(by_layer)} linear layers: {rank} × (in + out) each{vectors}"
    sizes = sorted(sum(count_weights(weight) for weight in weights) for weights in by_layer.values())
    size = f"{sizes[0]:,}" if sizes[0] == sizes[-1] else f"{sizes[0]:,} to {sizes[-1]:,}"
    beside = "the model" if set(by_layer) == {""} else f"each of {len(by_layer)} layers"
    return f"{size} weights beside {beside}"


def _rank(weights: Sequence[Any]) -> int | None:
    """r of a low-rank pair, r × in and out × r; None for any other form."""
    matrices = [weight for weight in weights if weight.ndim == 2]
    if len(matrices) != 2 or matrices[0].shape[0] != matrices[1].shape[1]:
        return None
    return int(matrices[0].shape[0])


def _dropped_lines(dropped: Mapping[str, Any], base_names: set[str], family: Any) -> Iterator[LedgerLine]:
    """What only the pretrained architecture has: its head, parts of its base model."""
    head = {name: weight for name, weight in dropped.items() if name not in base_names}
    rest = {name: weight for name, weight in dropped.items() if name in base_names}
    is_words_head = any(name.startswith(family.words_head) for name in head)
    title = "the language-model head" if is_words_head else "the pretrained model's own head"
    for weights, reason in (
        (head, f"{title}, which this arm does not use"),
        (rest, "part of the pretrained model that this arm does not use"),
    ):
        if weights:
            yield LedgerLine("dropped", -_total(weights), f"{_describe(weights)}: {reason}")


def _added_lines(new: Mapping[str, Any], fresh: Sequence[str]) -> Iterator[LedgerLine]:
    """What only the tuned model has in its base model."""
    if new:
        is_fresh = not set(fresh).isdisjoint(new)
        reason = "not in the checkpoint" if is_fresh else "in the checkpoint, though not named as saved"
        yield LedgerLine("added", _total(new), f"{_describe(new)}: {reason}")


def _quantized_line(quantized: QuantizedSize) -> LedgerLine:
    sizes = f"{quantized.weights:,} weights in {quantized.size_bytes:,} bytes instead of "
    full = (
        f"{2 * quantized.weights:,} at 16 bits per weight; two weights share a byte, and each counts as one"
    )
    return LedgerLine("quantised to 4 bits", 0, sizes + full)
