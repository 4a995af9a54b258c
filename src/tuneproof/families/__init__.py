"""The catalog of families: what differs between architectures.

In: a model's configuration. Out: its Family. Knows nothing of: weights, methods, tasks.
"""

from typing import Any

from tuneproof.families import auto, bert, deberta, ettin, gemma, llama, mistral, modernbert, qwen, roberta
from tuneproof.families.family import Family, PadRule

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        *(bert.FAMILY, roberta.FAMILY, deberta.FAMILY, modernbert.FAMILY),
        *(llama.FAMILY, gemma.FAMILY, qwen.FAMILY, ettin.FAMILY, mistral.FAMILY),
        auto.FAMILY,
    )
}


def family_of(config: Any) -> Family:
    """The family of a configuration. Raises: ModelError if it is no causal or masked language model."""
    for family in FAMILIES.values():
        if config.model_type in family.model_types:
            return family
    return auto.family_by_kind(config)


__all__ = ["FAMILIES", "Family", "PadRule", "family_of"]
