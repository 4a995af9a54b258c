"""An item as a model sees it, and what the record says about an encoding.

In: a ready model, an item, its tokens. Out: plain values for arm.json. Knows nothing of: losses, golds.
"""

from typing import Any

from tuneproof.context.model_spec import Ready
from tuneproof.data.tokens import show_tokens
from tuneproof.inference.prediction import Predicted
from tuneproof.tasks.task import Example

SHOWN_ITEMS = 3


def shown_item(ready: Ready, example: Example, ids: Any, supervised: Any) -> dict[str, Any]:
    """One item as the model sees it: its tokens, and which of them the loss sees."""
    tokens = show_tokens(ready.tokenizer, ids, supervised)
    return {
        "id": example.id,
        "text": ready.tokenizer.decode([int(i) for i in ids]),
        "tokens": [token.token for token in tokens],
        "supervised": [token.supervised for token in tokens],
    }


def encoding_of(predictions: Predicted, max_length: int) -> dict[str, Any]:
    """What the record says about the encoding of the test items."""
    return {
        "max_length": max_length,
        "truncated_items": int(predictions.truncated_N.sum()),
        "items": len(predictions),
        "longest_tokens": int(predictions.tokens_N.max()),
        "mean_tokens": float(predictions.tokens_N.mean()),
    }
