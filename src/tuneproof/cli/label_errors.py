"""What the terminal shows of suspected label errors.

In: the value of label_errors.json. Out: text, or JSON. Knows nothing of: how labels are judged.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneproof.cli.json_output import print_json
from tuneproof.cli.terminal import clean, open_console, print_table
from tuneproof.record.study_folder import LABEL_ERRORS_CSV
from tuneproof.report.label_errors import label_error_sentences

SHOWN_ROWS = 8
MAX_CHARACTERS = 60


def print_label_errors(value: Mapping[str, Any], folder: Path, report: str, as_json: bool) -> None:
    """Print how many to expect, the most suspect items, both verdicts and the files."""
    if as_json:
        print_json(value)
        return
    console = open_console()
    for sentence in label_error_sentences(value):
        console.print(clean(sentence), highlight=False)
    if value["rows"]:
        rows = [
            (row["part"], row["label"], row["suggested"], f"{row['score']:.3f}", row["text"][:MAX_CHARACTERS])
            for row in value["rows"][:SHOWN_ROWS]
        ]
        print_table(console, (("Part", "Label", "Suggested", "Score", "Text"), *rows), texts=5)
    for claim in (value.get("without") or {}).get("claims", ()):
        console.print(clean(f"All items: {claim['all']}"), highlight=False)
        without = claim["without"] or "the arms could not be compared."
        console.print(clean(f"Without the suspected: {without}"), highlight=False)
    console.print(clean(f"Labels to correct: {folder / LABEL_ERRORS_CSV}"), highlight=False)
    console.print(clean(f"Report: {report}"), highlight=False)
