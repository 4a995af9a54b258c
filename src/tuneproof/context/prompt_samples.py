"""An item as a model sees it, and what the record says about an encoding.

In: a model spec, an item, its tokens. Out: plain values for arm.json. Knows nothing of: losses, golds.
"""

from typing import Any

from tuneproof.context.model_spec import ModelSpec
from tuneproof.data.tokens import show_tokens
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.tasks.task import Example

SAMPLE_ITEMS = 3


def prompt_sample(spec: ModelSpec, example: Example, ids: Any, supervised: Any) -> dict[str, Any]:
    """One item as the model sees it: its tokens, and which of them the loss sees."""
    tokens = show_tokens(spec.tokenizer, ids, supervised)
    return {
        "id": example.id,
        "text": spec.tokenizer.decode([int(i) for i in ids]),
        "tokens": [token.token for token in tokens],
        "supervised": [token.supervised for token in tokens],
    }


def encoding_summary(predictions: AnyPredictions, max_length: int) -> dict[str, Any]:
    """What the record says about the encoding of the test items."""
    return {
        "max_length": max_length,
        "truncated_items": int(predictions.truncated_N.sum()),
        "items": len(predictions),
        "longest_tokens": int(predictions.tokens_N.max()),
        "mean_tokens": float(predictions.tokens_N.mean()),
    }
