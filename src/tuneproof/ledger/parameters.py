"""The parameter ledger: base, dropped, added, adapters, each line with its sign and reason.

In: a tuned model and its base's configuration. Out: lines that add up to the total, exactly.
Knows nothing of: data, training.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


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
    """Name to number of elements; a tied weight counts once, under its first name."""
    return {name: parameter.numel() for name, parameter in model.named_parameters()}


def _plain(name: str) -> str:
    """The name that a parameter has without adapters around it."""
    return (
        name.replace("base_model.model.", "")
        .replace("modules_to_save.default.", "")
        .replace(".base_layer.", ".")
    )


def _group(name: str, head: Sequence[str]) -> str:
    if ".lora_" in name or name.startswith("lora_") or "lora_magnitude" in name:
        return "adapters"
    if ".original_module." in name:
        return "shadow"
    if not set(head).isdisjoint(_plain(name).split(".")):
        return "head"
    return "trunk"


def parameter_ledger(
    model: Any, pretrained: Any, family: Any, trainable: int | None = None, probe: int = 0
) -> Ledger:
    """Explain every parameter between the pretrained model and the tuned one.

    `pretrained` is the pretrained architecture, on the meta device; `family` names the
    modules of a classification head; `probe` the size of a linear head that lives beside the model;
    `trainable` what trains where gradients do not tell (a probe on a frozen base).
    """
    before = parameter_sizes(pretrained)
    after = parameter_sizes(model)
    base = sum(before.values())
    sums = {"trunk": 0, "head": 0, "adapters": 0, "shadow": 0}
    for name, size in after.items():
        sums[_group(name, family.head_modules)] += size
    lines = []
    change = sums["trunk"] - base
    if change < 0:
        lines.append(
            LedgerLine(
                "dropped",
                change,
                "parts of the pretrained model that this arm does not use"
                " (language-model head, pooler)",
            )
        )
    elif change > 0:
        lines.append(LedgerLine("added", change, "parts that the pretrained architecture lacks"))
    if sums["head"]:
        lines.append(LedgerLine("head", sums["head"], "classification head, not in the checkpoint"))
    if probe:
        lines.append(LedgerLine("head", probe, "linear head on pooled features"))
    if sums["adapters"]:
        lines.append(
            LedgerLine("adapters", sums["adapters"], "low-rank updates beside linear layers")
        )
    if trainable is None:
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = base + sum(line.count for line in lines)
    return Ledger(base, total, trainable, tuple(lines))
