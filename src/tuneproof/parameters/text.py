"""A Count as lines of text: the architecture, the parameters by group, the ledger.

In: a Count. Out: lines. Knows nothing of: terminals, colour, how anything was counted.
"""

from collections import Counter
from itertools import groupby

from tuneproof.parameters.count import Count


def _said(value: int | None, unit: str = "") -> str:
    return "none" if value is None else f"{value:,}{unit}"


def architecture_lines(count: Count) -> list[str]:
    """One line a property."""
    found = count.architecture
    tied = {True: "tied to the embeddings", False: "a matrix of its own", None: "none"}[found.tied]
    rows = {
        "type": f"{found.model_type} ({found.kind}, family {found.family})",
        "dimension": _said(found.dimension),
        "layers": _said(found.layers),
        "heads": _said(found.heads),
        "key-value heads": _said(found.key_value_heads),
        "head size": _said(found.head_size),
        "hidden size": _said(found.hidden_size),
        "attention": attention_line(found.attention),
        "window": _said(found.window, " tokens"),
        "context": _said(found.context, " tokens"),
        "vocabulary": _said(found.vocabulary),
        "language-model head": tied,
    }
    return [f"{name:<20} {value}" for name, value in rows.items()]


def attention_line(kinds: tuple[str, ...]) -> str:
    """'full in all 16 layers', or how many layers are of each kind and in which order they come."""
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
    """One line a group that the model has, the total, and what others published."""
    rows = [(f"{size:,}", group) for group, size in count.groups.items() if size]
    rows.append((f"{count.total:,}", f"total ({count.architecture_class})"))
    if count.published is None:
        return [*_columns(rows), "No published count stands on the shelf."]
    found = count.published
    sentence = f"Published: {found.count:,} ({found.source}), "
    if count.agrees:
        return [*_columns(rows), f"{sentence}the same."]
    apart = found.count - count.total
    return [*_columns(rows), f"{sentence}{apart:+,} from ours. {found.differs}".rstrip()]


def adaptation_lines(count: Count) -> list[tuple[str, list[str]]]:
    """The title and lines of the ledger; nothing where no adaptation was asked for."""
    if count.adaptation is None:
        return []
    found, ledger = count.adaptation, count.adaptation.ledger
    set_to = ", ".join(f"{name} {value}" for name, value in found.changes.items())
    method = f"{found.method}{f' ({set_to})' if set_to else ''}, answering by" if found.method else "with"
    rows = [(f"{ledger.base:,}", "base")]
    rows += [(f"{line.count:+,}" if line.count else "0", f"{line.what}: {line.why}") for line in ledger.lines]
    rows.append((f"{ledger.total:,}", "total"))
    if found.method:
        share = 100 * ledger.trainable / ledger.total
        words = f"{share:.2g}" if share < 10 else f"{share:.0f}"
        rows.append((f"{ledger.trainable:,}", f"of these train ({words} %)"))
    return [(f"Adaptation: {method} {found.head.sentence}", _columns(rows))]


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    wide = max(len(number) for number, _ in rows)
    return [f"{number:>{wide}}  {words}" for number, words in rows]
