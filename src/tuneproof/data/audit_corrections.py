"""What corrected labels change: how many in which part, by which file.

In: the report of the splits. Out: a finding. Knows nothing of: texts, how errors are suspected.
"""

from collections.abc import Mapping
from typing import Any

from tuneproof.data.findings import Finding


def audit_corrections(report: Mapping[str, Any]) -> list[Finding]:
    """A warning where labels of test are corrected, else a note; nothing where none is."""
    corrections = report.get("corrections")
    if not corrections:
        return []
    files = " and ".join(corrections["files"])
    parts, left_out = corrections["parts"], corrections["left_out"]
    total = sum(parts.values())
    counts = ", ".join(f"{name} {count:,}" for name, count in parts.items())
    subject = "label is" if total == 1 else "labels are"
    message = f"{total:,} {subject} corrected by {files} ({counts}); the data's own file stays."
    if left_out:
        message += f" {left_out:,} more belong to rows that are in no part."
    if parts["test"]:
        message += " Scores on corrected test labels are not comparable with those before."
    return [Finding("corrected_labels", "warning" if parts["test"] else "note", message, total)]
