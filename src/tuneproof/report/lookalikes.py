"""The scores on the test items without a lookalike in train, beside those on all.

In: a study read back. Out: a table of strings. Knows nothing of: predictions, HTML tags, files.
"""

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report import formatting, tables

TITLE = "Scores without lookalikes"


def lookalike_table(study: StudyRecord) -> tables.Table | None:
    """Each arm's score on all test items and on those without a lookalike; None if there are few."""
    measured = study.comparisons.get("without_lookalikes")
    if not measured or not measured["arms"]:
        return None
    others = f"without a lookalike ({formatting.count(measured['items'])} items)"
    return tables.all_and_without(measured, tables.positive_label(study), others)


def lookalike_note(study: StudyRecord) -> str:
    """What a lookalike is, with its share; empty if few items have one."""
    measured = study.comparisons.get("without_lookalikes")
    if not measured:
        return ""
    return (
        f"{formatting.format_percent(measured['share'])} % of the test items have a lookalike in train: a "
        "text with nearly the same words, or one that contains the other. Scores on the other items are "
        "nearer to the performance on new text."
    )
