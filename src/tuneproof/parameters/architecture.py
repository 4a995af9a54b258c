"""A model's architecture as a table, and its parameters by what they do, also for an arm's ledger.

In: a configuration, and its model on the meta device. Out: plain values.
Knows nothing of: weights, methods, adapters.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tuneproof.families.blocks import is_embedding
from tuneproof.families.family import Family
from tuneproof.families.models import ModelSource, published_config
from tuneproof.parameters.quantized import count_weights

GROUPS = ("embeddings", "attention", "feed-forward", "norms", "head", "other")
FEED_FORWARD = ("mlp", "ffn", "feed_forward", "feedforward", "moe", "expert")
FEED_FORWARD_PARTS = {"intermediate", "output", "fc1", "fc2", "fc_in", "fc_out", "dense_h_to_4h"}
INTERMEDIATE_SIZE = ("intermediate_size", "hidden_dim", "ffn_dim", "ffn_hidden_size", "d_ff", "n_inner")
KINDS = {"full_attention": "full", "sliding_attention": "sliding"}


@dataclass(frozen=True)
class Architecture:
    """What the configuration says; None if it says nothing, or the model has no such thing.

    `intermediate_size`: width of the feed-forward layers; `sliding_window`: positions that a sliding layer
    attends to; `context_length`: most tokens of an item; `tied_embeddings`: the language-model head shares
    its matrix with the embeddings (None: no such head); `attention`: the kind of each layer.
    """

    model_type: str
    family: str
    kind: str
    hidden_size: int | None
    num_layers: int | None
    num_heads: int | None
    num_key_value_heads: int | None
    head_dim: int | None
    intermediate_size: int | None
    sliding_window: int | None
    context_length: int | None
    vocab_size: int | None
    tied_embeddings: bool | None
    attention: tuple[str, ...]


def _read_number(config: Any, *names: str) -> int | None:
    """The first of these settings that the configuration gives as a number."""
    values = (getattr(config, name, None) for name in names)
    return next((int(value) for value in values if isinstance(value, int)), None)


def describe_architecture(config: Any, family: Family, pretrained: Any) -> Architecture:
    """The table of one model. `pretrained`: its architecture on the meta device."""
    text = config.get_text_config()
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads")
    hidden_size, num_layers, num_heads = (_read_number(text, name) for name in names)
    intermediate_size = _read_number(text, *INTERMEDIATE_SIZE)
    if intermediate_size is None and hidden_size and hasattr(text, "n_inner"):
        intermediate_size = 4 * hidden_size  # GPT-2's default
    head_dim = _read_number(text, "head_dim")
    if head_dim is None and hidden_size and num_heads:
        head_dim = hidden_size // num_heads
    attention = _attention_kinds(text, num_layers or 0, num_heads)
    return Architecture(
        model_type=text.model_type,
        family=family.name,
        kind=family.kind,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_key_value_heads=_read_number(text, "num_key_value_heads") or num_heads,
        head_dim=head_dim,
        intermediate_size=intermediate_size,
        sliding_window=_window(text, family, attention),
        context_length=family.position_limit(config),
        vocab_size=_read_number(text, "vocab_size"),
        tied_embeddings=_has_tied_embeddings(pretrained),
        attention=attention,
    )


def pretrained_entry(source: ModelSource, config: Any, family: Family, pretrained: Any) -> dict[str, Any]:
    """The ledger's entry `pretrained`: class, architecture, weights by group, and the published count."""
    reference = published_config(source)
    published = reference.parameters if reference else None
    values = {
        "architecture_class": type(pretrained).__name__,
        "architecture": asdict(describe_architecture(config, family, pretrained)),
        "groups": count_by_group(pretrained),
        "published": published and asdict(published),
    }
    return {"pretrained": values}


def _window(text: Any, family: Family, attention: tuple[str, ...]) -> int | None:
    """Positions that a sliding layer attends to; an encoder's lie on both sides."""
    if "sliding" not in attention:
        return None
    names = ("local_attention", "sliding_window") if family.kind == "encoder" else ("sliding_window",)
    return _read_number(text, *names)


def _attention_kinds(text: Any, num_layers: int, num_heads: int | None) -> tuple[str, ...]:
    """The kind of each layer: as the configuration lists them, or by its one window."""
    listed = getattr(text, "layer_types", None)
    if listed:
        return tuple(KINDS.get(kind, str(kind)) for kind in listed)
    if num_heads is None:
        return ()
    window = getattr(text, "sliding_window", None)
    slides = window is not None and getattr(text, "use_sliding_window", True)
    return ("sliding" if slides else "full",) * num_layers


def _has_tied_embeddings(pretrained: Any) -> bool | None:
    """Whether the language-model head shares its matrix with the embeddings; None without such a head."""
    head = pretrained.get_output_embeddings()
    return None if head is None else head.weight is pretrained.get_input_embeddings().weight


def count_by_group(pretrained: Any) -> dict[str, int]:
    """Weights by what they do; a tied weight counts once, as an embedding.

    embeddings: of tokens, positions and types; norms: of every kind; head: whatever follows the base model;
    other: the rest of the base model (poolers, recurrent mixers).
    """
    sums = dict.fromkeys(GROUPS, 0)
    seen: set[int] = set()
    for group, parameter in _grouped_parameters(pretrained.base_model):
        if id(parameter) not in seen:
            seen.add(id(parameter))
            sums[group] += count_weights(parameter)
    sums["head"] = sum(count_weights(p) for p in pretrained.parameters() if id(p) not in seen)
    return sums


def _grouped_parameters(base_model: Any) -> Iterator[tuple[str, Any]]:
    for name, module in base_model.named_modules():
        group = _group(name.lower().split("."), module)
        for parameter in module.parameters(recurse=False):
            yield group, parameter


def _group(name_parts: list[str], module: Any) -> str:
    if is_embedding(module):
        return "embeddings"
    if "norm" in type(module).__name__.lower():
        return "norms"
    if any("attn" in part or "attention" in part for part in name_parts):
        return "attention"
    is_feed_forward = any(word in part for part in name_parts for word in FEED_FORWARD)
    in_block = any(part.isdigit() for part in name_parts)
    if is_feed_forward or (in_block and not FEED_FORWARD_PARTS.isdisjoint(name_parts)):
        return "feed-forward"
    return "other"
