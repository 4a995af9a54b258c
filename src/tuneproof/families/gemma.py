"""The family of Gemma 1 and 2: decoders with a pad token of their own and tied embeddings.

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.

Source: Gemma team 2024, arXiv:2403.08295 and arXiv:2408.00118 (soft-capped logits, alternating windows).
"""

from dataclasses import replace

import tuneproof.families.llama as llama

FAMILY = replace(llama.FAMILY, name="gemma", model_types=("gemma", "gemma2"), head_modules=("score",))
