"""The family of Gemma 1, 2 and 3: decoders with a pad token of their own and tied embeddings.

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.

Source: Gemma team 2024, arXiv:2403.08295 and arXiv:2408.00118 (soft-capped logits, alternating
windows); 2025, arXiv:2503.19786 (normed queries and keys, five windows to one full layer).
"""

from dataclasses import replace

import tuneproof.families.llama as llama

FAMILY = replace(
    llama.FAMILY,
    name="gemma",
    model_types=("gemma", "gemma2", "gemma3_text"),
    head_modules=("score",),
    overflows_fp16=("gemma3_text",),  # transformers#36822
)
