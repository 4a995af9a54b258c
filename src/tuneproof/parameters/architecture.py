"""A model's architecture as a table, and its parameters by what they do.

In: a configuration, and its model on the meta device. Out: plain values.
Knows nothing of: weights, methods, adapters.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tuneproof.families.family import Family
from tuneproof.parameters.quantized import true_size

GROUPS = ("embeddings", "attention", "feed-forward", "norms", "head", "other")
FEED_FORWARD = ("mlp", "ffn", "feed_forward", "feedforward", "moe", "expert")
FEED_FORWARD_PARTS = {"intermediate", "output", "fc1", "fc2", "fc_in", "fc_out", "dense_h_to_4h"}
HIDDEN = ("intermediate_size", "hidden_dim", "ffn_dim", "ffn_hidden_size", "d_ff", "n_inner")
KINDS = {"full_attention": "full", "sliding_attention": "sliding"}


@dataclass(frozen=True)
class Architecture:
    """What the configuration says; None where it says nothing, or the model has no such thing.

    `dimension`: of a token's state; `hidden_size`: of the feed-forward layers; `window`: positions
    that a sliding layer looks back; `context`: tokens an item may have; `tied`: the language-model
    head is the embeddings' own matrix (None: the architecture has no such head); `attention`: each
    layer's kind, from the first to the last.
    """

    model_type: str
    family: str
    kind: str
    dimension: int | None
    layers: int | None
    heads: int | None
    key_value_heads: int | None
    head_size: int | None
    hidden_size: int | None
    window: int | None
    context: int | None
    vocabulary: int | None
    tied: bool | None
    attention: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def _number(config: Any, *names: str) -> int | None:
    """The first of these that the configuration gives as a number."""
    found = (getattr(config, name, None) for name in names)
    return next((int(value) for value in found if isinstance(value, int)), None)


def architecture_of(config: Any, family: Family, pretrained: Any) -> Architecture:
    """The table of one model. `pretrained`: its architecture on the meta device."""
    text = config.get_text_config()
    dimension = _number(text, "hidden_size")
    heads = _number(text, "num_attention_heads")
    hidden = _number(text, *HIDDEN)
    if hidden is None and dimension and hasattr(text, "n_inner"):
        hidden = 4 * dimension  # GPT-2's rule where nothing is said
    head_size = _number(text, "head_dim")
    if head_size is None and dimension and heads:
        head_size = dimension // heads
    attention = _attention(text, _number(text, "num_hidden_layers") or 0, heads)
    return Architecture(
        model_type=text.model_type,
        family=family.name,
        kind=family.kind,
        dimension=dimension,
        layers=_number(text, "num_hidden_layers"),
        heads=heads,
        key_value_heads=_number(text, "num_key_value_heads") or heads,
        head_size=head_size,
        hidden_size=hidden,
        window=_number(text, "sliding_window") if "sliding" in attention else None,
        context=family.position_limit(config),
        vocabulary=_number(text, "vocab_size"),
        tied=_tied(pretrained),
        attention=attention,
    )


def _attention(text: Any, layers: int, heads: int | None) -> tuple[str, ...]:
    """Each layer's kind: as the configuration lists them, or by its one window."""
    listed = getattr(text, "layer_types", None)
    if listed:
        return tuple(KINDS.get(kind, str(kind)) for kind in listed)
    if heads is None:
        return ()
    window = getattr(text, "sliding_window", None)
    slides = window is not None and getattr(text, "use_sliding_window", True)
    return ("sliding" if slides else "full",) * layers


def _tied(pretrained: Any) -> bool | None:
    """Whether the language-model head shares its matrix with the embeddings; None without one."""
    out = pretrained.get_output_embeddings()
    if out is None:
        return None
    return out.weight is pretrained.get_input_embeddings().weight


def parameter_groups(pretrained: Any) -> dict[str, int]:
    """Weights by what they do; a tied one counts once, as an embedding.

    embeddings: of words, positions and types; attention and feed-forward: their matrices and biases;
    norms: of every kind; head: what stands on the trunk; other: the rest of the trunk (poolers,
    recurrent mixers).
    """
    sums = dict.fromkeys(GROUPS, 0)
    seen: set[int] = set()
    for group, parameter in _grouped(pretrained.base_model):
        if id(parameter) not in seen:
            seen.add(id(parameter))
            sums[group] += true_size(parameter)
    sums["head"] = sum(true_size(p) for p in pretrained.parameters() if id(p) not in seen)
    return sums


def _grouped(trunk: Any) -> Iterator[tuple[str, Any]]:
    for name, module in trunk.named_modules():
        own = list(module.parameters(recurse=False))
        if own:
            group = _group(name.lower().split("."), type(module).__name__.lower())
            yield from ((group, parameter) for parameter in own)


def _group(parts: list[str], kind: str) -> str:
    if "embedding" in kind:
        return "embeddings"
    if "norm" in kind:
        return "norms"
    if any("attn" in part or "attention" in part for part in parts):
        return "attention"
    wide = any(word in part for part in parts for word in FEED_FORWARD)
    in_block = any(part.isdigit() for part in parts)
    if wide or (in_block and not FEED_FORWARD_PARTS.isdisjoint(parts)):
        return "feed-forward"
    return "other"
