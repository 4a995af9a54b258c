"""Probabilities of labels from the log-probabilities that a server gives.

In: a choice of a server's reply, the labels' words. Out: log-probabilities of the labels, or None.
Knows nothing of: requests, items, golds. Everything in a reply is checked: it is data of a stranger.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FirstToken:
    """Log-probabilities of the labels by the first token of a reply.

    log_probabilities: None where the tokens do not tell the labels apart. bounded: some label begins with
    none of the reported tokens; it has the lowest of their log-probabilities, which its own cannot exceed.
    """

    log_probabilities: list[float] | None
    bounded: bool = False


def first_token_labels(choice: Mapping[str, Any], words: Sequence[str]) -> FirstToken | None:
    """The labels by the first token; None where the reply has no log-probabilities.

    Where no label begins with any of its alternatives and a blank was written, the next token decides.
    """
    labels = None
    for token, tops in _positions(choice):
        if not tops:
            break
        labels = _labels_of_tokens(tops, words)
        if labels.log_probabilities is not None or token.strip():
            break
    return labels


def _labels_of_tokens(tokens: Mapping[str, float], words: Sequence[str]) -> FirstToken:
    """A token counts for the label whose word it begins, one that begins several words for none of them.

    Nothing is decided where these tokens could change the best label.
    """
    masses, ambiguous = _masses(tokens, [word.casefold().strip() for word in words])
    first, second = sorted([*masses, 0.0], reverse=True)[:2]
    if not first or ambiguous >= first - second:
        return FirstToken(None)
    lowest = math.exp(min(tokens.values()))
    values = [math.log(max(mass or lowest, 1e-300)) for mass in masses]
    return FirstToken(values, bounded=0.0 in masses)


def _masses(tokens: Mapping[str, float], words: Sequence[str]) -> tuple[list[float], float]:
    """The probability of each word's beginnings, and that of beginnings of several words."""
    masses, ambiguous = [0.0] * len(words), 0.0
    for token, value in tokens.items():
        start = token.strip().casefold()
        labels = [index for index, word in enumerate(words) if start and word.startswith(start)]
        if len(labels) == 1:
            masses[labels[0]] += math.exp(value)
        elif labels:
            ambiguous += math.exp(value)
    return masses, ambiguous


def _positions(choice: Mapping[str, Any]) -> list[tuple[str, dict[str, float]]]:
    """Each written token with the reported alternatives, in the form of either protocol."""
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, Mapping):
        return []
    if isinstance(content := logprobs.get("content"), list):
        return [_chat_position(entry) for entry in content if isinstance(entry, Mapping)]
    tokens, tops = logprobs.get("tokens"), logprobs.get("top_logprobs")
    if not isinstance(tokens, list) or not isinstance(tops, list):
        return []
    pairs = zip(tokens, tops, strict=False)
    return [(str(token), _finite(top.items())) for token, top in pairs if isinstance(top, Mapping)]


def _chat_position(entry: Mapping[str, Any]) -> tuple[str, dict[str, float]]:
    alternatives = entry.get("top_logprobs")
    entries = [entry, *(alternatives if isinstance(alternatives, list) else [])]
    pairs = [(top.get("token"), top.get("logprob")) for top in entries if isinstance(top, Mapping)]
    return str(entry.get("token", "")), _finite(pairs)


def _finite(pairs: Any) -> dict[str, float]:
    return {str(token): min(float(value), 0.0) for token, value in pairs if _is_finite(value)}


def answer_log_probability(choice: Mapping[str, Any], prompt: str, answer: str) -> float | None:
    """Of the answer's tokens at the end of an echoed prompt; None where the reply does not hold them.

    Read from the end: the written tokens, then the answer, whose tokens must end where it begins.
    """
    text, rest = choice.get("text"), _echoed_tokens(choice)
    start = text.find(prompt + answer) if isinstance(text, str) else -1
    if start < 0 or _pop(rest, len(str(text)) - start - len(prompt + answer)) is None:
        return None
    while rest and not rest[-1][0]:  # an end of text is written as nothing
        rest.pop()
    values = _pop(rest, len(answer))
    return min(sum(values), 0.0) if values and all(map(_is_finite, values)) else None


def _echoed_tokens(choice: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Each token of prompt and reply with its log-probability."""
    logprobs = choice.get("logprobs")
    tokens, values = (
        (logprobs.get("tokens"), logprobs.get("token_logprobs"))
        if isinstance(logprobs, Mapping)
        else ((), ())
    )
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        return []
    return [(str(token), value) for token, value in zip(tokens, values, strict=True)]


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _pop(tokens: list[tuple[str, Any]], length: int) -> list[Any] | None:
    """Take tokens of this many characters off the end; None where no token begins there."""
    values = []
    while length > 0 and tokens:
        token, value = tokens.pop()
        length -= len(token)
        values.append(value)
    return values if length == 0 else None
