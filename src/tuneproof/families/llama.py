"""The family of Llama: decoders with rotary positions and one begin token.

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.

Source: Touvron et al. 2023, arXiv:2302.13971; Grattafiori et al. 2024, arXiv:2407.21783.
"""

from tuneproof.families.family import Family, decoder_has_words_head

FAMILY = Family(
    name="llama",
    kind="decoder",
    model_types=("llama",),
    targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    attention=("q_proj", "k_proj", "v_proj", "o_proj"),
    head="score",
    head_modules=("score", "qa_outputs"),
    words_head=("lm_head.",),
    bos="one",
    has_words_head=decoder_has_words_head,
)
