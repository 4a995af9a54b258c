"""That a study's labels were corrected, and by which file: what a reader must know before any score.

In: splits.json of a study. Out: a sentence. Knows nothing of: how labels are judged, HTML tags.
"""

from collections.abc import Mapping
from typing import Any


def corrections_note(splits: Mapping[str, Any]) -> str:
    """How many test labels were corrected; empty where none was."""
    corrections = splits.get("corrections") or {}
    count, total = (corrections.get("parts") or {}).get("test"), (splits.get("sizes") or {}).get("test")
    if not count:
        return ""
    files = " and ".join(corrections.get("files") or ())
    verb = "was" if count == 1 else "were"
    return (
        f"{count:,} of {total or 0:,} test labels {verb} corrected by {files}: every score "
        "is on another test set than before, and comparable only with scores on these corrected labels."
    )
