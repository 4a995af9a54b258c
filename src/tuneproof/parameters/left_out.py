"""Weights that a method leaves out although its setting speaks of all: by name and number.

In: a model with its method applied, or its ledger's lines. Out: parts and reasons of lines; notes.
Knows nothing of: the rest of the ledger, why a method leaves them out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuneproof.parameters.quantized import count_weights

PARTS = ("without an adapter", "not trained")
MAX_NAMES = 8
PEFT_PREFIX = "base_model.model."


def left_out_lines(model: Any) -> Iterator[tuple[str, str]]:
    """Part and reason for what has no adapter, and for what no output depends on."""
    weights = dict(model.named_parameters())
    without = getattr(model, "weights_without_adapter", ())
    if without:
        listed = _describe((_name_in_block(name), weights[name]) for name in without)
        yield PARTS[0], f"{listed}: in the adapted blocks, but peft puts no adapter beside them"
    unread = getattr(model, "unread_weights", ())
    if unread:
        trained = tuple(name for name, weight in weights.items() if weight.requires_grad)
        listed = _describe((_outermost(name, trained), weights[name]) for name in unread)
        yield PARTS[1], f"{listed}: frozen, since no output of this model depends on them"


def left_out_notes(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """The sentences for an arm's notes, from the lines of its ledger as JSON."""
    return [f"{line['part'].capitalize()}: {line['reason']}." for line in lines if line["part"] in PARTS]


def _describe(weights: Iterable[tuple[str, Any]]) -> str:
    """'24,576 weights (mlp.experts.down_proj 8,192, ...)', the largest group first."""
    by_group: Counter[str] = Counter()
    for group, weight in weights:
        by_group[group] += count_weights(weight)
    listed = [f"{group} {size:,}" for group, size in by_group.most_common()]
    more = f", and {len(listed) - MAX_NAMES} more" if len(listed) > MAX_NAMES else ""
    return f"{by_group.total():,} weights ({', '.join(listed[:MAX_NAMES])}{more})"


def _name_in_block(name: str) -> str:
    """A weight's name after its block's number, later numbers as a star."""
    parts = name.removeprefix(PEFT_PREFIX).split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdigit()]
    rest = parts[numbers[0] + 1 :] if numbers else parts
    return ".".join("*" if part.isdigit() else part for part in rest)


def _outermost(name: str, trained: tuple[str, ...]) -> str:
    """The outermost module around a weight in which nothing trains, or the weight itself."""
    parts = name.split(".")
    modules = (".".join(parts[:length]) for length in range(1, len(parts)))
    around = (module for module in modules if not any(other.startswith(f"{module}.") for other in trained))
    return next(around, name).removeprefix(PEFT_PREFIX)
