"""The family of ModernBERT: encoders with rotary positions, gated feed-forward layers and local attention.

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.

Its classifier reads through the dense layer and norm of the pretrained language-model head.

Source: Warner et al. 2024, arXiv:2412.13663; Weller et al. 2025, arXiv:2507.11412 (Ettin's encoders).
"""

from dataclasses import replace

import tuneproof.families.bert as bert

ATTENTION = ("attn.Wqkv", "attn.Wo")
FAMILY = replace(
    bert.FAMILY,
    name="modernbert",
    model_types=("modernbert",),
    targets=(*ATTENTION, "mlp.Wi", "mlp.Wo"),
    attention=ATTENTION,
    head_modules=("head", "classifier"),
    words_head=("decoder.",),
)
