"""The tokenizer that a model's own tokenizer.json describes, where transformers makes another one of it.

In: a folder and what transformers made of it. Out: a tokenizer that reads as the file does; notes.
Knows nothing of: configurations, weights, texts of a study.

transformers 5 makes most tokenizers anew, from their vocabulary and the defaults of the class that
tokenizer_config.json names: a cased BERT whose file does not say `do_lower_case` is then read in lower case.
The file holds the rules that the model was trained with.
"""

import re
from pathlib import Path
from typing import Any

OWN_FILE = "tokenizer.json"
RULES = ("normalizer", "pre_tokenizer")
MODEL_SETTINGS = (
    *("unk_token", "unk_id", "byte_fallback", "fuse_unk", "ignore_merges", "continuing_subword_prefix"),
    *("end_of_word_suffix", "max_input_chars_per_word"),
)
PROBES = (
    *("Good Movie", "GOOD MOVIE", "Café ÉTÉ naïve Ångström", "It cost 12345 in 2024, or 1,000.50."),
    *(
        "  two  spaces",
        "line\nend\ttab",
        "don't—stop… ﬁn ½ ①",
        "好电影 ጥሩ хорошо Ωmega",
        "ACGTacgt",
        "_a-b/c@d.e",
    ),
)
COMPARED_TOKENS = 5000  # of the vocabulary, evenly spaced
LOST_CAPITALS_SHARE = 0.01  # of the vocabulary; an uncased one holds a few by chance
BRACKETED = re.compile(r"[<\[].*[>\]]")


def as_own_file(tokenizer: Any, folder: Path) -> tuple[Any, list[str]]:
    """The tokenizer, or the one that tokenizer.json describes where the two differ; what to say of it."""
    path = folder / OWN_FILE
    notes = []
    if path.is_file():
        from tokenizers import Tokenizer

        own = Tokenizer.from_file(str(path))
        if _differs(tokenizer.backend_tokenizer, own):
            notes.append(_difference(tokenizer, own))
            tokenizer = _with_rules_of(own, tokenizer, folder)
        dropout = getattr(tokenizer.backend_tokenizer.model, "dropout", None)
        if dropout:
            tokenizer.backend_tokenizer.model.dropout = None
            notes.append(f"its tokenizer drops merges at random (dropout {dropout:g}); here it never does.")
    _check_special_tokens(tokenizer)
    tokenizer.backend_tokenizer.encode_batch([*PROBES])  # one without an unknown token fails here, not later
    return tokenizer, notes + _lost_capitals(tokenizer)


def _check_special_tokens(tokenizer: Any) -> None:
    """Raises ValueError where one is no token: transformers would look for its id without end."""
    for name, token in tokenizer.special_tokens_map.items():
        if isinstance(token, str) and tokenizer.backend_tokenizer.token_to_id(token) is None:
            raise ValueError(f"its {name} {token!r:.60} is no token of its vocabulary")


def _state(part: Any) -> Any:
    return None if part is None else part.__getstate__()


def _differs(made: Any, own: Any) -> bool:
    """Whether two tokenizers split or name texts by different rules."""
    if any(_state(getattr(made, rule)) != _state(getattr(own, rule)) for rule in RULES):
        return True
    if type(made.model) is not type(own.model):
        return True
    if any(getattr(made.model, name, None) != getattr(own.model, name, None) for name in MODEL_SETTINGS):
        return True
    size = own.get_vocab_size()
    ids = range(0, size, max(1, size // COMPARED_TOKENS))
    return any(own.id_to_token(i) != made.id_to_token(i) for i in ids)


def _difference(tokenizer: Any, own: Any) -> str:
    """The sentence that says which tokenizer is used, with the first text that they read differently."""
    maker = type(tokenizer).__name__
    for probe in PROBES:
        made_tokens = tokenizer.backend_tokenizer.encode(probe, add_special_tokens=False).tokens
        own_tokens = own.encode(probe, add_special_tokens=False).tokens
        if made_tokens != own_tokens:
            return (
                f"its {OWN_FILE} reads {probe!r} as {_listed(own_tokens)} and is used; transformers' {maker} "
                f"would read {_listed(made_tokens)}."
            )
    return f"its {OWN_FILE} is used; transformers' {maker} would read it with other rules."


def _listed(pieces: list[str]) -> str:
    return " ".join(pieces[:8]) + (" …" if len(pieces) > 8 else "")


def _with_rules_of(own: Any, tokenizer: Any, folder: Path) -> Any:
    """A tokenizer of no class but the file's, with the special tokens, sides and inputs of `tokenizer`."""
    from transformers import TokenizersBackend

    same = TokenizersBackend.from_pretrained(
        str(folder),
        local_files_only=True,
        padding_side=tokenizer.padding_side,
        model_input_names=list(tokenizer.model_input_names),
        **tokenizer.special_tokens_map,
    )
    same.chat_template = tokenizer.chat_template
    for rule in RULES:
        setattr(same.backend_tokenizer, rule, getattr(own, rule))
    for setting in ("add_prefix_space", "do_lower_case", "strip_accents", "tokenize_chinese_chars"):
        same.init_kwargs.pop(setting, None)  # saved, they would change the rules again
    return same


def _lost_capitals(tokenizer: Any) -> list[str]:
    """What to say if the vocabulary holds capitals that no text can become."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is None or _has_capital(normalizer.normalize_str("CAPITALS")):
        return []
    vocabulary = tokenizer.get_vocab()
    added = tokenizer.get_added_vocab()
    cased = [t for t in vocabulary if t not in added and _has_capital(t) and not BRACKETED.fullmatch(t)]
    lost = [token for token in cased if not _has_capital(normalizer.normalize_str(token))]
    if len(lost) <= LOST_CAPITALS_SHARE * len(vocabulary):
        return []
    examples = ", ".join(sorted(lost, key=lambda token: (-len(token), token))[:3])
    return [
        f"its vocabulary holds {len(lost):,} tokens with capitals ({examples}) that its tokenizer can never "
        "make: it reads all texts in lower case. If the model is a cased one, write "
        '"do_lower_case": false into its tokenizer_config.json.'
    ]


def _has_capital(token: str) -> bool:
    """Whether a letter is a capital; those that stand for bytes in a byte-level vocabulary are not."""
    return any(c.isupper() and not "\u0100" <= c <= "\u0143" for c in token)
