"""Why a family of models cannot do what a method asks, where both alone tell.

In: a method with its options, a family, how many layers the model has.
Out: a sentence with what to use instead, or None.
Knows nothing of: weights, checkpoints, data.
"""

from typing import Any

from tuneproof.families.family import Family
from tuneproof.methods.layers import why_not_last
from tuneproof.methods.method import Method


def misfit(method: Method, options: Any, family: Family, name: str, layers: int | None) -> str | None:
    """The reason why a model of this family cannot do it; None where it can.

    `name`: the model's; `layers`: how many it has (None: not known).
    """
    if family.kind == "encoder":
        if method.shots is not None and method.shots(options):
            return f"{name} is an encoder: it takes no examples in a prompt. Use zero-shot."
        if getattr(options, "scoring", None) == "generate":
            return f"{name} is an encoder: it generates no text. Use scoring: likelihood."
        if getattr(options, "objective", None) == "words":
            return f"{name} is an encoder: it continues no words. Use objective: head."
        if getattr(options, "pooling", None) == "last":
            return f"{name} is an encoder: pool first or mean."
    elif getattr(options, "pooling", None) == "first":
        return f"{name} is a decoder: its first token has read nothing. Pool last or mean."
    if getattr(options, "targets", None) == "attention" and not family.attention:
        return f"the names of {name}'s attention layers are not known. Use targets: all."
    return why_not_last(options, layers, name)
