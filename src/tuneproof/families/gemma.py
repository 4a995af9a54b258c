"""The family of Gemma 1 and 2: decoders with a pad token of their own and tied embeddings.

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.

Source: Gemma team 2024, arXiv:2403.08295 and arXiv:2408.00118 (soft-capped logits, alternating windows).
"""

from tuneproof.families.family import Family, choose_pad, decoder_has_words_head, position_limit

FAMILY = Family(
    name="gemma",
    kind="decoder",
    model_types=("gemma", "gemma2"),
    targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    attention=("q_proj", "k_proj", "v_proj", "o_proj"),
    head="score",
    head_modules=("score",),
    words_head=("lm_head.",),
    bos="one",
    pad_rule=choose_pad,
    position_limit=position_limit,
    has_words_head=decoder_has_words_head,
)
