"""Whether a tokenizer is the one that a model was trained with: by its size, its markers, its kind.

In: a tokenizer, a configuration, a family. Out: notes, or an error that names the mismatch.
Knows nothing of: files, weights, texts.
"""

from typing import Any

from tuneproof.errors import ModelError
from tuneproof.families.family import Family

# A tokenizer with fewer tokens than this share of the model's rows belongs to another model: padding
# of embeddings to round sizes takes a few per cent at most.
MIN_VOCABULARY_SHARE = 0.9
MAX_PADDED_ROWS = 512  # of a model whose ids were left at the defaults of its class


def check_tokenizer(tokenizer: Any, config: Any, family: Family, name: str = "model") -> list[str]:
    """Refuse a tokenizer made for another model: by vocabulary, begin, end and pad ids, or kind.

    Begin and end ids of the configuration that differ but that nothing uses are removed from it; the notes
    say so.

    Raises: ModelError that names the first mismatch.
    """
    markers = _marker_mismatch(tokenizer, config)
    unused = markers is not None and _are_unused(tokenizer, config, family)
    mismatch = _vocabulary_mismatch(tokenizer, config) or (None if unused else markers)
    mismatch = mismatch or _kind_mismatch(tokenizer, config, family)
    if mismatch:
        raise ModelError(
            name,
            f"the tokenizer is another model's: {mismatch}.",
            do="Put the files of the tokenizer that the model was trained with into its folder.",
        )
    if not unused:
        return []
    text = config.get_text_config()
    text.bos_token_id = None
    if tokenizer.eos_token_id not in _ids(text.eos_token_id):
        text.eos_token_id = None
    return [f"its tokenizer's begin and end tokens are used, not those of config.json: {markers}."]


def _are_unused(tokenizer: Any, config: Any, family: Family) -> bool:
    """Whether differing ids are no sign of another model: no encoder uses them; a decoder's end token agrees,
    or all are the defaults of its class, on a vocabulary of the model's size.
    """
    text, begin, end = config.get_text_config(), tokenizer.bos_token_id, tokenizer.eos_token_id
    if family.kind == "encoder" or end in _ids(text.eos_token_id):
        return True
    if end in _ids(text.bos_token_id) or begin in _ids(text.eos_token_id):
        return False
    default = type(text)()
    are_defaults = (text.bos_token_id, text.eos_token_id) == (default.bos_token_id, default.eos_token_id)
    return are_defaults and int(text.vocab_size) - len(tokenizer) < MAX_PADDED_ROWS


def _ids(value: Any) -> set[int]:
    if value is None:
        return set()
    return {int(i) for i in value} if isinstance(value, list | tuple) else {int(value)}


def _vocabulary_mismatch(tokenizer: Any, config: Any) -> str | None:
    rows, tokens = int(config.get_text_config().vocab_size), len(tokenizer)
    needed = max(tokens, max(tokenizer.get_vocab().values(), default=-1) + 1)
    if needed > rows:
        return f"it has {needed} tokens, the model has rows for {rows}"
    if tokens < MIN_VOCABULARY_SHARE * rows:
        return f"it has {tokens} tokens, the model {rows}"
    return None


def _marker_mismatch(tokenizer: Any, config: Any) -> str | None:
    text, bos = config.get_text_config(), tokenizer.bos_token_id
    if bos is not None and text.bos_token_id is not None and bos != text.bos_token_id:
        return f"it begins texts with token {bos}, the model with {text.bos_token_id}"
    model_ids = _ids(text.bos_token_id) | _ids(text.eos_token_id)
    own_ids = _ids(bos) | _ids(tokenizer.eos_token_id) | _ids(tokenizer.pad_token_id)
    if model_ids and own_ids and own_ids.isdisjoint(model_ids | _ids(text.pad_token_id)):
        return f"its markers are tokens {sorted(own_ids)}, the model's {sorted(model_ids)}"
    return None


def _kind_mismatch(tokenizer: Any, config: Any, family: Family) -> str | None:
    text, has_mask = config.get_text_config(), tokenizer.mask_token_id is not None
    if family.kind == "encoder":
        opens_texts = tokenizer.cls_token_id is not None or (tokenizer.bos_token_id is not None and has_mask)
        if not opens_texts:
            return "it has no token that opens a text or stands for a masked word, as an encoder's has"
    elif family.kind == "decoder" and has_mask:
        has_markers = _ids(text.bos_token_id) or _ids(text.eos_token_id)
        ends = _ids(tokenizer.eos_token_id) | _ids(tokenizer.sep_token_id)  # Ettin's decoders end with [SEP]
        if has_markers and not ends & _ids(text.eos_token_id):
            return "it is made for an encoder ([MASK], no end of text), the model for continuing texts"
    return None
