"""The family of Qwen 3: decoders with grouped, normed queries and keys, and no begin token.

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.

Source: Qwen team 2025, arXiv:2505.09388.
"""

from dataclasses import replace

import tuneproof.families.llama as llama

FAMILY = replace(llama.FAMILY, name="qwen", model_types=("qwen3",), bos="tokenizer")
