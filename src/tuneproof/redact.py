"""Removes secrets and terminal control characters from text before anyone sees it.

In: text from anywhere. Out: text that is safe to show. Knows nothing of: where it is shown.
"""

import json
import os
import re
from typing import Any

HIDDEN = "[hidden]"
MIN_SECRET_LENGTH = 8  # characters; shorter values would hide ordinary words
_NAMES = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|(API|ACCESS|SECRET)?_?KEY|CREDENTIALS?)S?$")
_PATTERNS = (
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
    """Whether the name of an environment variable says that it is a token, key or password."""
    return bool(_NAMES.search(name.upper()))


def _secrets() -> list[str]:
    """The values of the environment's tokens, keys and passwords, longest first."""
    values = [value for name, value in os.environ.items() if is_secret(name)]
    return sorted((value for value in values if len(value) >= MIN_SECRET_LENGTH), key=len, reverse=True)


def redact(text: str) -> str:
    """Replace tokens, passwords and the environment's secrets by [hidden]."""
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def printable(text: str) -> str:
    """Replace control, direction and invisible characters by visible escapes; line ends stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def printable_json(text: str) -> str:
    """JSON of the same value without characters that a terminal acts on."""
    return "".join(
        c if c.isprintable() or c == "\n" else json.dumps(c, ensure_ascii=True)[1:-1] for c in text
    )


def json_text(value: Any) -> str:
    """A value as JSON for a terminal or a pipe."""
    return printable_json(json.dumps(value, indent=1, ensure_ascii=False))
