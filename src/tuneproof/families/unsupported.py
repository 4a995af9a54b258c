"""What transformers' classes of single architectures do not have, or cannot do.

In: a configuration, what an arm loads. Out: the reason in a sentence, with what works instead, or None.
Knows nothing of: weights, methods, tasks.

Read off transformers' tables of names, so that it is known before torch is imported.
"""

import ast
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tuneproof.families.family import Family, TargetNames, layers_read_past

Need = Literal["labels", "words", "cloze", "base"]
MIXES_PADDING = ("fnet", "convbert", "cpmant", "funnel", "nystromformer", "reformer", "yoso")
COUNTS_SEPARATORS = ("big_bird", "longformer")  # in the forward pass of the span head
POOLS_LAST_POSITION = ("xlnet",)
READS_AHEAD = ("bert-generation", "xlnet")  # unless the configuration makes it a decoder
READS_LEFT_PADDING = ("rwkv",)  # prompts are padded there
WITHOUT_LINEAR_LAYERS = {"squeezebert": "convolutions", "ibert": "layers of integers"}
TABLES = {
    "labels": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "words": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "cloze": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "base": "MODEL_MAPPING_NAMES",
}
HEADS = {
    "labels": "classification head",
    "words": "language-model head",
    "cloze": "masked-language-model head",
    "base": "model without a head",
}


def why_unusable(config: Any, name: str) -> str | None:
    """Why no arm can use this architecture; None: one may."""
    kind = config.model_type
    if kind in MIXES_PADDING:
        return (
            f"{name} is a model of {kind}, whose layers read padding as if it were text: what it says of a "
            "text depends on the texts beside it. Use another model."
        )
    if kind == "xmod" and not config.default_language:
        return (
            f"{name} has adapters for each language, and its config.json names no default_language. "
            f"Add one of {', '.join(config.languages)} to it."
        )
    return None


def why_no_head(config: Any, family: Family, need: Need, name: str) -> str | None:
    """Why transformers has not what an arm loads of this architecture; None: it has it.

    need: labels, a classification head; words, a decoder's language-model head; cloze, an encoder's masked
    one; base, no head.
    """
    kind = config.model_type
    if kind not in _types_with(need):
        return f"transformers has no {HEADS[need]} for {kind}. {_instead(config, family, need)}"
    if need == "labels" and kind in POOLS_LAST_POSITION:
        return (
            f"{name} is a model of {kind}, whose classification head reads the last position even where it "
            "is padding. Use head."
        )
    if need == "words" and kind in READS_AHEAD and not getattr(config, "is_decoder", False):
        return (
            f"{name} is a model of {kind}, whose tokens read those that follow: its words have no likelihood "
            "of their own. Use head."
        )
    if need == "words" and kind in READS_LEFT_PADDING:
        return (
            f"{name} is a model of {kind}, whose layers read the padding before a prompt as if it were text. "
            "Use head."
        )
    return None


def why_no_span_head(config: Any, name: str) -> str | None:
    """Why a head over spans would read other states than it is fitted on; None: it reads the same."""
    if config.model_type not in COUNTS_SEPARATORS:
        return None
    return (
        f"{name} is a model of {config.model_type}, whose question-answering head looks for the question by "
        "counting separator tokens, and reads the text otherwise than the model alone. Use another model."
    )


def why_no_adapters(config: Any, targets: TargetNames, name: str) -> str | None:
    """Why adapters cannot stand beside these layers; None: the architecture allows it."""
    kind = config.model_type
    if kind in WITHOUT_LINEAR_LAYERS:
        return (
            f"{name} is a model of {kind}, whose blocks have {WITHOUT_LINEAR_LAYERS[kind]} in place of "
            "linear layers: adapters have nothing to stand beside. Use head or full."
        )
    past = [layer for layer in layers_read_past(config) if not isinstance(targets, str) and layer in targets]
    if past:
        return (
            f"{name} is a model of {kind}, which reads the weights of {past[0]} past any adapter. Use other "
            "layers in targets, or all-linear, which leaves it out."
        )
    return None


@cache
def _types_with(need: Need) -> frozenset[str]:
    """The model types for which transformers has such a class.

    The table is read from its source, as importing that module needs torch.
    """
    import transformers

    path = Path(transformers.__file__).parent / "models" / "auto" / "modeling_auto.py"
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(args=[pairs])) if (
                name == TABLES[need]
            ):
                return frozenset(dict(ast.literal_eval(pairs)))
    raise RuntimeError(f"transformers {transformers.__version__} has no table {TABLES[need]}.")


def _instead(config: Any, family: Family, need: Need) -> str:
    if need == "labels" and family.kind == "decoder" and config.model_type in _types_with("words"):
        return "Use head, or lora or full with objective: words."
    return {"labels": "Use head.", "base": "Use another model."}.get(need, "Use head, lora or full.")
