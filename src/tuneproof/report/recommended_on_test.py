"""What test shows of the recommended arm and every other one: to explore, since it decided nothing.

In: comparisons of the recommended arm, corrected together. Out: a sentence. Knows nothing of: costs, HTML.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneproof.report.formatting import count, format_percent
from tuneproof.score.verdict import join_names

ON_TEST_TITLE = "On test"
LISTED = 4  # names in an enumeration
PHRASES = {"better": "better than", "cannot tell": "not distinguishable from", "worse": "worse than"}


def on_test(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Than which arms it is better on test, and than which not; "" without comparisons.

    pairs: comparisons as values, all of the same arm and metric, corrected together.
    """
    if not pairs:
        return ""
    parts = [
        f"{phrase} {_names(some, len(pairs))}{_sizes(some) if outcome != 'cannot tell' else ''}"
        for outcome, phrase in PHRASES.items()
        if (some := [pair for pair in pairs if pair["outcome"] == outcome])
    ]
    family = max(int(pair.get("claims") or 1) for pair in pairs)
    corrected = f"corrected for {count(family)} comparisons; " if family > 1 else ""
    text = join_names(parts)
    return f"{text[0].upper()}{text[1:]} (exploratory, {corrected}no test item chose anything)."


def _names(pairs: Sequence[Mapping[str, Any]], total: int) -> str:
    if len(pairs) == total > LISTED:
        return f"all {total} other arms"
    return join_names([str(pair["over"]) for pair in pairs])


def _sizes(pairs: Sequence[Mapping[str, Any]]) -> str:
    """By how much: the smallest and the largest difference."""
    sizes = sorted(abs(pair["difference"]) for pair in pairs)
    in_points = bool(pairs[0].get("in_points"))
    low, high = (format_percent(size) if in_points else f"{size:.3f}" for size in (sizes[0], sizes[-1]))
    return f" by {low if low == high else f'{low} to {high}'}{' points' if in_points else ''}"
