"""The family of Ettin's decoders: ModernBERT's layers with causal attention and separate projections.

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.

Source: Weller et al. 2025, arXiv:2507.11412.
"""

from tuneproof.families.family import Family, decoder_has_words_head

ATTENTION = ("q_proj", "k_proj", "v_proj", "attn.Wo")
FAMILY = Family(
    name="ettin",
    kind="decoder",
    model_types=("modernbert-decoder",),
    targets=(*ATTENTION, "mlp.Wi", "mlp.Wo"),
    attention=ATTENTION,
    head="classifier",
    head_modules=("head", "classifier"),
    words_head=("lm_head.", "decoder."),
    bos="tokenizer",
    has_words_head=decoder_has_words_head,
    before_head="head",
)
