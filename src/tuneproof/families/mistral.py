"""The family of Mistral: decoders with grouped queries and, in some, a sliding window.

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.

Source: Jiang et al. 2023, arXiv:2310.06825.
"""

from tuneproof.families.family import Family, choose_pad, decoder_has_words_head, position_limit

FAMILY = Family(
    name="mistral",
    kind="decoder",
    model_types=("mistral",),
    targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    attention=("q_proj", "k_proj", "v_proj", "o_proj"),
    head="score",
    head_modules=("score", "qa_outputs"),
    words_head=("lm_head.",),
    bos="one",
    pad_rule=choose_pad,
    position_limit=position_limit,
    has_words_head=decoder_has_words_head,
)
