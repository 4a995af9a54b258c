"""The family of Mistral: decoders with grouped queries and, in some, a sliding window.

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.

Source: Jiang et al. 2023, arXiv:2310.06825.
"""

from dataclasses import replace

import tuneproof.families.llama as llama

FAMILY = replace(llama.FAMILY, name="mistral", model_types=("mistral",))
