"""What texts go through on their way out: no secret in them, nothing that steers a terminal.

In: text from anywhere. Out: the same for people to read. Knows nothing of: where it is shown.
"""

import json
import os
import re
from typing import Any

HIDDEN = "[hidden]"
LEAST_SECRET = 8  # characters; shorter values of the environment would blot out ordinary words
_NAMES = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|(API|ACCESS|SECRET)?_?KEY|CREDENTIALS?)S?$")
_SHAPES = (
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@'\"]+@"), rf"\1{HIDDEN}@"),
    (
        re.compile(
            r"(?i)\b(authorization|x-api-key)(['\"]?\s*[:=]\s*['\"]?)"
            r"((?:bearer|basic|token)\s+)?[A-Za-z0-9._~+/=-]{4,}"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer\s+)(?=\S*\d)[A-Za-z0-9._~+/=-]{12,}"), rf"\1{HIDDEN}"),
    (
        re.compile(r"(?i)([?&;](?:access_)?(?:token|key|api_key|signature|password)=)[^\s&'\"]+"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(hf_|api_org_|sk-|ghp_|gho_|github_pat_|glpat-)[A-Za-z0-9_-]{12,}"), HIDDEN),
)


def is_secret(name: str) -> bool:
    """Whether a variable of the environment is called a token, a key or a password."""
    return bool(_NAMES.search(name.upper()))


def _secrets() -> list[str]:
    """The environment's values that are called a token, a key or a password, longest first."""
    found = [value for name, value in os.environ.items() if len(value) >= LEAST_SECRET and is_secret(name)]
    return sorted(found, key=len, reverse=True)


def redacted(text: str) -> str:
    """The text with tokens, passwords and the environment's secrets replaced by [hidden]."""
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


def printable(text: str) -> str:
    """Control, direction and invisible characters as visible escapes; line ends stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def printable_json(text: str) -> str:
    """JSON of the same value in which no character steers a terminal."""
    return "".join(
        c if c.isprintable() or c == "\n" else json.dumps(c, ensure_ascii=True)[1:-1] for c in text
    )


def json_text(value: Any) -> str:
    """A value as JSON for a terminal or a pipe."""
    return printable_json(json.dumps(value, indent=1, ensure_ascii=False))
