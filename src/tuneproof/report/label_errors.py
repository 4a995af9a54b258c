"""Suspected label errors: how many to expect, the most suspect items, the verdict without those of test.

In: a study read back, its label_errors.json. Out: sentences and tables of strings.
Knows nothing of: how labels are judged, HTML tags.
"""

from collections.abc import Mapping
from typing import Any

from tuneproof.record.file_shapes import read_object
from tuneproof.record.study_folder import LABEL_ERRORS_CSV, LABEL_ERRORS_JSON, StudyRecord
from tuneproof.report import formatting, tables
from tuneproof.tasks.corrections import CORRECTED

SHOWN_ROWS = 20
MAX_CHARACTERS = 160
NEXT_STEP = (
    f"Write the right label of each wrong item into its column {CORRECTED}, leave the others empty, and run "
    f"the recipe again with corrections: [STUDY/{LABEL_ERRORS_CSV}] in its task, after those that it has (or "
    f"--set task.labels.corrections=STUDY/{LABEL_ERRORS_CSV}). Items stay in their parts, and your own file "
    "stays as it is."
)
STALE = "The suspected label errors are of earlier items or arms: run `tuneproof label-errors` again."


def label_errors_section(study: StudyRecord) -> dict[str, Any] | None:
    """What the page shows of them; None without the file, the note alone if it is of other items or arms."""
    path = study.folder / LABEL_ERRORS_JSON
    if not path.is_file():
        return None
    value = read_object(path)
    arms = [{name: arm.get(name) for name in _IDENTITY} for arm in study.comparisons.get("arms") or []]
    is_current = value.get("fingerprints") == study.splits.get("fingerprints") and value.get("arms") == arms
    if not is_current:
        return {"notes": [STALE], "pairs": None, "rows": None, "scores": None, "claims": []}
    without = value.get("without")
    others = f"without {without['left_out']:,} suspected" if without else ""
    return {
        "notes": label_error_sentences(value),
        "pairs": _pairs_table(value),
        "rows": _rows_table(value),
        "scores": tables.all_and_without(without, tables.positive_label(study), others) if without else None,
        "claims": [(claim["all"], claim.get("without")) for claim in without["claims"]] if without else [],
    }


_IDENTITY = ("arm", "model", "kind", "seeds")


def label_error_sentences(value: Mapping[str, Any]) -> list[str]:
    """How many label errors to expect where, by which models, and what leaving them out means."""
    sentences = []
    for part in value["parts"]:
        share = formatting.format_percent(part["expected"] / max(1, part["items"]))
        held_out = "fitted without the item" if part["part"] == "train" else "which did not train on them"
        sentences.append(
            f"{part['part'].capitalize()}: about {part['expected']:,} of {part['items']:,} labels may be "
            f"wrong ({share} %), by {', '.join(part['models'])}, {held_out}. Items that are hard to tell "
            "count too, the more the weaker these models are."
        )
    if any(part["part"] != "train" for part in value["parts"]):
        sentences.append("Dev chose the arms' settings, so fewer of its errors are seen than of test's.")
    sentences.append(f"The {len(value['rows']):,} most suspect items are in {LABEL_ERRORS_CSV}, to correct.")
    if value["rows"]:
        sentences.append(NEXT_STEP)
    sentences += value.get("skipped") or []
    if without := value.get("without"):
        sentences.append(
            f"{without['left_out']:,} test items are suspected; {without['items']:,} remain without them. "
            f"{without['caution']}"
        )
    return sentences


def _pairs_table(value: Mapping[str, Any]) -> tables.Table | None:
    rows = tuple(
        (part["part"], pair["label"], pair["suggested"], formatting.count(pair["expected"]))
        for part in value["parts"]
        for pair in part["pairs"]
    )
    header = ("Part", "Label", "Should be", "Expected items")
    return tables.Table(header, rows, (False, False, False, True)) if rows else None


def _rows_table(value: Mapping[str, Any]) -> tables.Table | None:
    rows = tuple(
        (row["id"], row["part"], _shorten(row["text"]), row["label"], row["suggested"], f"{row['score']:.3f}")
        for row in value["rows"][:SHOWN_ROWS]
    )
    header = ("Id", "Part", "Text", "Label", "Suggested", "Probability of the label")
    return tables.Table(header, rows, (False,) * 5 + (True,)) if rows else None


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
