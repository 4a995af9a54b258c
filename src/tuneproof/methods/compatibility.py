"""Why a family of models cannot do what a method requests, where both alone tell.

In: a method with its options, a family, the number of the model's layers. Out: a sentence with what to use
instead, or None. Knows nothing of: weights, checkpoints, data.
"""

from tuneproof.families.family import Family
from tuneproof.methods.layers import why_not_last
from tuneproof.methods.method import Method
from tuneproof.methods.options import (
    AdapterOptions,
    MethodOptions,
    PoolingOption,
    generates_text,
    trains_words,
)


def why_incompatible_method(
    method: Method, options: MethodOptions, family: Family, name: str, layers: int | None
) -> str | None:
    """The reason why a model of this family cannot do it; None where it can.

    `name`: the model's; `layers`: how many it has (None: not known).
    """
    encoder_reason = _why_not_encoder(method, options, name) if family.kind == "encoder" else None
    if encoder_reason:
        return encoder_reason
    if family.kind == "decoder" and isinstance(options, PoolingOption) and options.pooling == "first":
        return f"{name} is a decoder: its first token has read nothing. Pool last or mean."
    if isinstance(options, AdapterOptions) and options.targets == "attention" and not family.attention:
        return f"the names of {name}'s attention layers are not known. Use targets: all-linear."
    return why_not_last(options, layers, name)


def _why_not_encoder(method: Method, options: MethodOptions, name: str) -> str | None:
    """The reasons that encoders have."""
    if method.shots is not None and method.shots(options):
        return f"{name} is an encoder: it takes no examples in a prompt. Use zero-shot."
    if generates_text(options):
        return f"{name} is an encoder: it generates no text. Use scoring: likelihood."
    if trains_words(options):
        return f"{name} is an encoder: it continues no words. Use objective: head."
    if isinstance(options, PoolingOption) and options.pooling == "last":
        return f"{name} is an encoder: pool first or mean."
    return None
