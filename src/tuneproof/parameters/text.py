"""A Count as lines of text: the architecture, the parameters by group, the ledger.

In: a Count, or the same values from a study's ledger. Out: lines and rows.
Knows nothing of: terminals, colour, counting.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from tuneproof.families.published import PublishedCount
from tuneproof.parameters.count import Count


def _number(value: int | None, unit: str = "") -> str:
    return "none" if value is None else f"{value:,}{unit}"


def architecture_lines(count: Count) -> list[str]:
    """One line per property."""
    return [f"{name:<20} {value}" for name, value in architecture_rows(asdict(count.architecture))]


def architecture_rows(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each property of an `Architecture` as plain values, and its text."""
    tied = {True: "tied to the embeddings", False: "a matrix of its own", None: "none"}
    return [
        ("type", f"{table['model_type']} ({table['kind']}, family {table['family']})"),
        ("hidden size", _number(table["hidden_size"])),
        ("layers", _number(table["num_layers"])),
        ("heads", _number(table["num_heads"])),
        ("key-value heads", _number(table["num_key_value_heads"])),
        ("head dimension", _number(table["head_dim"])),
        ("intermediate size", _number(table["intermediate_size"])),
        ("attention", attention_line(table["attention"])),
        ("sliding window", _number(table["sliding_window"], " tokens")),
        ("context length", _number(table["context_length"], " tokens")),
        ("vocabulary", _number(table["vocab_size"])),
        ("language-model head", tied[table["tied_embeddings"]]),
    ]


def attention_line(kinds: Sequence[str]) -> str:
    """'full in all 16 layers', or the number of layers of each kind and their order."""
    counts = Counter(kinds)
    if not kinds:
        return "none"
    if len(counts) == 1:
        return f"{kinds[0]} in all {len(kinds)} layers"
    sums = ", ".join(f"{kind} in {number}" for kind, number in counts.items())
    runs = [(kind, len(list(run))) for kind, run in groupby(kinds)]
    order = ", ".join(f"{number} {kind}" for kind, number in runs[:4])
    return f"{sums} of {len(kinds)} layers: {order}{', …' if len(runs) > 4 else ''}"


def parameter_lines(count: Count) -> list[str]:
    """One line per group that the model has, the total, and the published count."""
    rows = [(f"{size:,}", group) for group, size in count.groups.items() if size]
    rows.append((f"{count.total:,}", f"total ({count.architecture_class})"))
    return [*_columns(rows), published_sentence(count.published, count.groups)]


def published_sentence(published: PublishedCount | None, groups: Mapping[str, int]) -> str:
    """The published count beside ours."""
    if published is None:
        return "No published count is known."
    sentence = f"Published: {published.count:,}{published.scope} ({published.source}), "
    difference = published.difference(sum(groups.values()), groups["head"])
    if difference == 0:
        return f"{sentence}the same."
    return f"{sentence}{difference:+,} from ours. {published.differs}".rstrip()


def adaptation_lines(count: Count) -> list[tuple[str, list[str]]]:
    """The title and lines of the ledger; nothing if the count has no adaptation."""
    if count.adaptation is None:
        return []
    adaptation, ledger = count.adaptation, count.adaptation.ledger
    changes = ", ".join(f"{name} {value}" for name, value in adaptation.changes.items())
    settings = f" ({changes})" if changes else ""
    method = f"{adaptation.method}{settings} with" if adaptation.method else "with"
    rows = [(f"{ledger.base:,}", "base")]
    rows += [
        (f"{line.count:+,}" if line.count else "0", f"{line.part}: {line.reason}") for line in ledger.lines
    ]
    rows.append((f"{ledger.total:,}", "total"))
    if adaptation.method:
        shares = trainable_shares(ledger.trainable / ledger.total, ledger.trainable_share_of_others)
        rows.append((f"{ledger.trainable:,}", f"trainable ({shares})"))
    return [(f"Adaptation: {method} {adaptation.head.description}", _columns(rows))]


def trainable_shares(share: float, share_of_others: float | None) -> str:
    """'1.4 % of all, 3.8 % of the weights other than embeddings', or the first share alone."""
    if share_of_others is None or share_of_others == share:
        return _percent(share)
    return f"{_percent(share)} of all, {_percent(share_of_others)} of the weights other than embeddings"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(number) for number, _ in rows)
    return [f"{number:>{width}}  {text}" for number, text in rows]
