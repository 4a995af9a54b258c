"""What a family is: all that differs between architectures, as values and plain functions.

In: a model's configuration and tokenizer. Out: kind, target names, head, pad rule, position limit.
Knows nothing of: weights, torch, methods, tasks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tuneproof.errors import ModelError, did_you_mean

Kind = Literal["encoder", "decoder"]
TargetNames = Literal["all-linear", "attention"] | Sequence[str]

# Tokens that vocabularies hold for padding, or reserve; no text holds them. The first that exists pads.
PAD_TOKENS = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>")
RESERVED_TOKENS = ("<|reserved_special_token_0|>", "<unused0>", "[unused0]")


@dataclass(frozen=True)
class PadRule:
    """Which token pads, and why, in a sentence. The attention mask always hides it."""

    id: int
    token: str
    sentence: str


def choose_pad(tokenizer: Any, config: Any) -> PadRule:
    """The pad token: a dedicated, reserved, unknown or end token, in this order; none is added."""
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    rows = getattr(config.get_text_config(), "vocab_size", None) or len(tokenizer)
    end = tokenizer.eos_token

    def usable(token: str | None) -> bool:
        return token is not None and token in vocabulary and vocabulary[token] < rows

    def pad_with(token: str, reason: str) -> PadRule:
        return PadRule(vocabulary[token], token, f"Pad token: {token}{reason}.")

    own = tokenizer.pad_token
    if usable(own) and own not in (end, tokenizer.unk_token, *RESERVED_TOKENS):
        return pad_with(own, ", the tokenizer's own")
    for token in PAD_TOKENS + RESERVED_TOKENS:
        if usable(token) and token != end:
            return pad_with(token, ", a reserved token; the tokenizer names no pad token")
    if usable(tokenizer.unk_token) and tokenizer.unk_token != end:
        reason = "; the tokenizer has neither a pad token nor a reserved token"
        return pad_with(tokenizer.unk_token, reason)
    token = end if usable(end) else min(vocabulary, key=vocabulary.__getitem__)
    reason = ", the only one available; only the attention mask separates padding from real tokens"
    return pad_with(token, reason)


def position_limit(config: Any) -> int | None:
    """Tokens that an item may have, or None; RoBERTa's positions start behind the pad token's id.

    -1 and 0 say that a model has no limit, as XLNet's configuration does. BigBird's sparse attention, which
    begins above so many blocks, would read a text otherwise the longer its padding is.
    """
    text = config.get_text_config()
    limit = getattr(text, "max_position_embeddings", None)
    if limit is None or int(limit) < 1:
        return None
    if text.model_type in ROBERTA_POSITIONS:
        return int(limit) - int(text.pad_token_id or 0) - 1
    if getattr(text, "attention_type", "") == "block_sparse":
        return min(int(limit), (5 + 2 * text.num_random_blocks) * text.block_size)
    return int(limit)


ROBERTA_POSITIONS = (
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "data2vec-text"),
    *("longformer", "mpnet", "ibert", "xmod", "esm"),
)

# Linear layers whose weights an architecture multiplies by itself, everywhere or in a GPU's fused kernels, so
# that an adapter beside them is never read; the same on all machines.
READS_PAST = {
    **dict.fromkeys(("mamba", "falcon_mamba"), ("dt_proj", "out_proj")),
    **dict.fromkeys(
        ("mamba2", "falcon_h1", "nemotron_h", "bamba", "granitemoehybrid", "zamba2"), ("out_proj",)
    ),
    "jamba": ("dt_proj",),
}


def layers_read_past(config: Any) -> tuple[str, ...]:
    """Ends of the names of the linear layers that adapters cannot stand beside."""
    return READS_PAST.get(config.get_text_config().model_type, ())


def reads_token_types(config: Any) -> bool:
    """Whether a model tells a second text by its type; RoBERTa has one type, whatever its tokenizer."""
    return getattr(config.get_text_config(), "type_vocab_size", 2) != 1


@dataclass(frozen=True)
class Family:
    """One entry of the catalog.

    `model_types`: values of `config.model_type` that it serves; `targets`: the linear layers of the
    blocks by the end of their name ("all-linear": whatever is linear in a block); `attention`: those
    of them in attention (empty: not known); `head`: the last linear layer of
    `AutoModelForSequenceClassification`; `head_modules`: every module that a fresh classifier or span
    head brings (whichever of them the model has); `words_head`: how the names of the language-model
    head's own weights begin; `bos`: "one" where the model was trained with exactly one begin token,
    "tokenizer" where the tokenizer decides; `before_head`: the module that a decoder's pooled state passes
    before its head ("": none); `overflows_fp16`: model types whose activations exceed fp16's largest number.
    """

    name: str
    kind: Kind
    model_types: tuple[str, ...]
    targets: tuple[str, ...] | Literal["all-linear"]
    attention: tuple[str, ...]
    head: str
    head_modules: tuple[str, ...]
    words_head: tuple[str, ...]
    bos: Literal["one", "tokenizer"]
    has_words_head: Callable[[Any, "Family", set[str]], bool]
    before_head: str = ""
    overflows_fp16: tuple[str, ...] = ()
    pad_rule: Callable[[Any, Any], PadRule] = choose_pad
    position_limit: Callable[[Any], int | None] = position_limit

    def fits_fp16(self, config: Any) -> bool:
        """Whether the model's activations stay within fp16's range, as far as is known."""
        return config.get_text_config().model_type not in self.overflows_fp16

    def adapter_targets(self, model: Any, targets: TargetNames = "all-linear") -> list[str]:
        """Names of the linear layers that adapters stand beside, as peft matches them.

        Where the family does not name all of them: every linear layer inside a numbered block.

        Raises: ModelError where there is none, or one of the names is no layer's.
        """
        layers = [name for name, module in model.named_modules() if _is_linear(module)]
        in_blocks = [name for name in layers if any(part.isdigit() for part in name.split("."))]
        past = layers_read_past(model.config)
        in_blocks = [name for name in in_blocks if name.rpartition(".")[2] not in past]
        if not isinstance(targets, str):
            _check_names(model, targets, in_blocks)
            return list(targets)
        names = self.attention if targets == "attention" else self.targets
        if isinstance(names, str):
            matched = in_blocks
        else:
            matched = [end for end in names if any(name.endswith(f".{end}") for name in layers)]
        if not matched:
            do = "Use targets: all-linear, a list of layer names, or head or full."
            raise ModelError(type(model).__name__, f"has no linear layers known as {targets} targets.", do=do)
        return matched

    def keeps_pad_id(self, config: Any) -> bool:
        """Whether the configuration's pad id stays the checkpoint's: an encoder may count positions from it.

        A decoder's classifier looks for the tokenizer's, to know where a row ends.
        """
        return self.kind == "encoder" or config.get_text_config().model_type in ROBERTA_POSITIONS

    def head_names(self, model: Any) -> list[str]:
        """The classifier's modules that this model has; all of them train."""
        return [name for name in self.head_modules if hasattr(model, name)]


def _check_names(model: Any, names: Sequence[str], layers: Sequence[str]) -> None:
    """Raises ModelError where a name is not the end of a layer's name."""
    for end in names:
        if not any(name.endswith(f".{end}") for name in layers):
            ends = dict.fromkeys(name.rpartition(".")[2] for name in layers)
            problem = f"has no linear layer {end} in its blocks."
            allowed = f"Allowed in targets: {', '.join(ends)}."
            raise ModelError(type(model).__name__, problem, allowed, did_you_mean(end, ends))


def _is_linear(module: Any) -> bool:
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Linear | Conv1D)


def decoder_has_words_head(config: Any, family: Family, weights: set[str]) -> bool:
    """Whether a decoder's checkpoint holds its language-model head (tied to the embeddings, or own)."""
    if getattr(config.get_text_config(), "tie_word_embeddings", False):
        own = (name for name in weights if name.startswith(family.words_head))  # a bias, say
        return any(True for _ in own) or any(
            "embed" in name or name.endswith("wte.weight") for name in weights
        )
    return any(name.startswith(family.words_head) for name in weights)


def encoder_has_words_head(config: Any, family: Family, weights: set[str]) -> bool:
    """Whether an encoder's checkpoint holds its masked-language-model head's own weights."""
    return any(name.startswith(family.words_head) for name in weights)
