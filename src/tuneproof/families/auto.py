"""The family of every other model that transformers loads: its kind is read off the configuration.

In: a configuration. Out: one Family of either kind. Knows nothing of: weights, methods, tasks.
"""

from dataclasses import replace
from typing import Any

from tuneproof.errors import ModelError
from tuneproof.families.family import Family, decoder_has_words_head, encoder_has_words_head

FAMILY = Family(
    name="auto",
    kind="decoder",
    model_types=(),
    targets="all-linear",
    attention=(),
    head="score",
    head_modules=("score", "qa_outputs"),
    words_head=("lm_head.", "embed_out.", "output.", "head."),
    bos="tokenizer",
    has_words_head=decoder_has_words_head,
)

ENCODER = replace(
    FAMILY,
    kind="encoder",
    head="classifier",
    head_modules=("pre_classifier", "classifier", "qa_outputs", "head", "pooler"),
    words_head=(
        *("lm_head.", "cls.", "predictions.", "generator_predictions.", "head.", "embedding_decoder."),
    ),
    has_words_head=encoder_has_words_head,
)


# Heads under other names: their modules from the first to the last.
SUMMARISED = replace(
    ENCODER,
    head="sequence_summary",
    head_modules=("sequence_summary", "qa_outputs"),
    words_head=("pred_layer.",),
)
OWN_HEADS = {
    "ctrl": replace(FAMILY, head="classifier", head_modules=("classifier", "qa_outputs")),
    "eurobert": replace(ENCODER, head_modules=("dense", "classifier", "qa_outputs")),
    "flaubert": SUMMARISED,
    "xlm": SUMMARISED,
}


def family_by_kind(config: Any) -> Family:
    """The family of a configuration that no other family serves.

    A masked model is an encoder unless its configuration makes it a decoder: only then does its attention
    see no later token, whatever head the file names.

    Raises: ModelError where it is neither (encoder-decoder models, vision, speech).
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.model_type
    if kind in OWN_HEADS:
        return OWN_HEADS[kind]
    if not getattr(config, "is_encoder_decoder", False):
        named = " ".join(getattr(config, "architectures", None) or ())
        if getattr(config, "is_decoder", False):
            return FAMILY
        if "MaskedLM" in named or kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
            return ENCODER
        if "CausalLM" in named or "LMHeadModel" in named or kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return FAMILY
    problem = f"the architecture {kind} is neither a causal nor a masked language model."
    allowed = "Models that continue a text or fill in a mask can be used."
    raise ModelError("model", problem, allowed, "Name another one.")
