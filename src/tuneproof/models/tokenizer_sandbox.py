"""The process that tries a tokenizer.json, with little memory, no environment and no files to write.

In: the path of the file, bytes of memory, the parent's process number. Out: a line of JSON, {} or {error}.
Knows nothing of: tuneproof, whose tokenizer it is.

The file is data for a library in Rust, which ends its whole process where memory or a bound fails.
"""

import json
import runpy
import string
import sys
from pathlib import Path

MAX_GROWTH = 64  # characters that a normaliser may make of one; the largest in Unicode is 18
LONG = 10
CHAT_SANDBOX = Path(__file__).parents[1] / "data" / "chat_sandbox.py"


def try_file(path: str) -> str:
    """Read the file, encode every character that its normaliser names; what is wrong, or ""."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    normalizer = tokenizer.normalizer
    named = (
        "" if normalizer is None else json.dumps(json.loads(normalizer.__getstate__()), ensure_ascii=False)
    )
    characters = sorted({*string.printable, *named})
    for character in characters if normalizer else ():
        length = len(normalizer.normalize_str(character * LONG))
        if length > MAX_GROWTH * LONG:
            return f"its normaliser makes {length:,} characters of {LONG} times {character!r}"
    tokenizer.encode("".join(characters))
    return ""


def main() -> None:
    """Answer for the file of the command line."""
    import tokenizers  # noqa: F401  before memory is limited

    sandbox = runpy.run_path(str(CHAT_SANDBOX))
    runpy.run_path(sandbox["PARENT_PROCESS"])["end_with_parent"](int(sys.argv[3]))
    sandbox["limit_resources"](int(sys.argv[2]))
    try:
        error = try_file(sys.argv[1])
    except BaseException as failure:  # a panic of Rust is no Exception
        error = " ".join(str(failure).split())[:300].rstrip(".") or type(failure).__name__
    print(json.dumps({"error": error} if error else {}), flush=True)


if __name__ == "__main__":
    main()
