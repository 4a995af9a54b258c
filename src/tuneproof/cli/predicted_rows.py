"""Predicted rows as plain values, for `predict --json`.

In: what writes the rows into a file. Out: the rows, or the name of the user's file.
Knows nothing of: how rows are predicted.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def predictions_as_values(predict_file: Callable[[str], None], output: str | None) -> dict[str, Any]:
    """{"output": FILE} where the user names one, else {"rows": [...]}."""
    if output:
        predict_file(output)
        return {"output": output}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        predict_file(str(path))
        return {"rows": [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]}
