"""Mutations of JSON that keep it JSON: other types, huge numbers, missing keys, strange texts.

In: bytes, of which the first chooses a file, and a seed. Out: other bytes. Knows nothing of: what reads them.
"""

import json
import random
from collections.abc import Callable
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 0.5, -0.0, 2**31, 2**32 - 1, 2**63, 10**7, 10**9, 10**30, 10**400),
    *(float("nan"), float("inf"), -float("inf"), 1e308, 5e-324, "", " ", "a", "x" * 300, "\ud83d", "\x00"),
    *("None", "true", "1", "../x", "/etc/passwd", "[PAD]", "é\u0301\u200b", [], {}, [[]], [None], [0], ["a"]),
    *({"a": 1}, {"": None}, ["x", 2], [1, "a"], [{}]),
)
Spot = tuple[Any, Any]


def mutate_json(data: bytes, max_size: int, seed: int, other: Callable[[bytes, int], bytes]) -> bytes:
    """One to three mutations of the value behind the first byte; `other` mutates what is no JSON."""
    draw = random.Random(seed)
    lines = _lines(data[1:])
    if lines is None or draw.random() < 0.1:
        return other(data, max_size)
    root: list[Any] = lines
    try:
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            _mutate(root, draw)
        text = "\n".join(json.dumps(value, ensure_ascii=draw.random() < 0.5) for value in root)
    except (ValueError, RecursionError, OverflowError):  # an integer without end, a list in lists
        return other(data, max_size)
    if draw.random() < 0.05:
        text = _repeat_a_key(text, draw)
    mutated = data[:1] + text.encode("utf-8", "surrogatepass")
    return mutated if len(mutated) <= max_size else other(data, max_size)


def _lines(data: bytes) -> list[Any] | None:
    """The value in a list, or the values of JSON lines; None if it is neither."""
    try:
        text = data.decode("utf-8", "surrogatepass")
        try:
            return [json.loads(text)]
        except ValueError:
            return [json.loads(line) for line in text.split("\n") if line.strip()] or None
    except (ValueError, RecursionError):
        return None


def _spot(root: Any, draw: random.Random) -> Spot:
    """A container and a key of it; the nearer to the root the likelier."""
    key = draw.randrange(len(root))
    while isinstance(root[key], dict | list) and root[key] and draw.random() < 0.75:
        root = root[key]
        key = draw.choice(list(root)) if isinstance(root, dict) else draw.randrange(len(root))
    return root, key


def _mutate(root: list[Any], draw: random.Random) -> None:
    if not root:
        root.append(draw.choice(VALUES))
        return
    inside, key = _spot(root, draw)
    kind = draw.random()
    if kind < 0.15:
        del inside[key]
    elif kind < 0.25:
        other, other_key = _spot(root, draw)
        inside[key] = json.loads(json.dumps(other[other_key]))
    elif kind < 0.32 and isinstance(inside, dict):
        inside[draw.choice(("", "a", "\ud83d", f"{key}x", key.upper()))] = inside.pop(key)
    elif kind < 0.37 and isinstance(inside, list):
        inside.insert(key, json.loads(json.dumps(inside[key])))
    elif kind < 0.42:
        value = inside[key]
        for _ in range(draw.choice((1, 2, 300))):
            value = [value] if draw.random() < 0.5 else {"a": value}
        inside[key] = value
    elif kind < 0.65:
        inside[key] = _near(inside[key], draw)
    else:
        inside[key] = draw.choice(VALUES)


def _near(value: Any, draw: random.Random) -> Any:
    """A value of the same type, or of one that is easily mistaken for it."""
    if isinstance(value, bool) or value is None:
        return draw.choice((not value, str(value), int(bool(value))))
    if isinstance(value, int | float):
        return draw.choice((value + 1, -value, value * 1000, str(value), value + 0.5, [value], value == 1))
    if isinstance(value, str):
        at = draw.randrange(len(value) + 1)
        piece = draw.choice(("", "\ud83d", "\x00", "\n", "\u2028", "\u0130", "{", "x" * 1000, value))
        return value[:at] + piece + value[at + draw.choice((0, 1)) :]
    return [value] if isinstance(value, dict) else value * 3


def _repeat_a_key(text: str, draw: random.Random) -> str:
    """The text with the first value of an object written twice, under one key."""
    at = text.find("{", draw.randrange(len(text) + 1))
    end = text.find(":", at)
    return text if min(at, end) < 0 else f"{text[: at + 1]}{text[at + 1 : end]}: null, {text[at + 1 :]}"
