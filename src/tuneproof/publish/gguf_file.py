"""A whole decoder as a GGUF file, by llama.cpp's own converter.

In: a folder that transformers loads, a checkout of llama.cpp. Out: model.gguf.
Knows nothing of: the study, parity, the card.
"""

import os
import subprocess
import sys
from pathlib import Path

from tuneproof.errors import RecipeError
from tuneproof.methods.exported_model import WEIGHTS
from tuneproof.redact import is_secret, redact

CONVERTER = "convert_hf_to_gguf.py"
VARIABLE = "LLAMA_CPP"
TIMEOUT_S = 3600


def find_converter(checkout: str | None) -> Path:
    """The converter in a checkout of llama.cpp, named by an option or by the variable LLAMA_CPP.

    Raises: RecipeError where there is none.
    """
    named = checkout or os.environ.get(VARIABLE, "")
    file = Path(named).expanduser() / CONVERTER
    if named and file.is_file():
        return file
    problem = f"{named} holds no {CONVERTER}." if named else "GGUF is written by llama.cpp's own converter."
    do = f"Clone https://github.com/ggml-org/llama.cpp and name its folder with --llama-cpp or {VARIABLE}."
    raise RecipeError("--llama-cpp", problem, do=do)


def write_gguf(plain: Path, folder: Path, precision: str, converter: Path) -> None:
    """Write `folder`/model.gguf. Raises: RecipeError where the converter refuses the model."""
    target = folder / WEIGHTS["gguf"]
    command = [sys.executable, str(converter), str(plain), "--outfile", str(target), "--outtype", precision]
    environment = {name: value for name, value in os.environ.items() if not is_secret(name)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        problem = f"{CONVERTER} ran for more than {TIMEOUT_S // 60} minutes."
        raise RecipeError("export", problem, do="Use --format merged.") from None
    if done.returncode or not target.is_file():
        reason = redact((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
        problem = f"{CONVERTER} cannot convert this model: {reason}."
        raise RecipeError("export", problem, do="Use --format merged or onnx.")
