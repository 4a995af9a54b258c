"""What test shows of the recommended arm and the others, and what chose that arm.

In: comparisons of the recommended arm, corrected together. Out: a sentence. Knows nothing of: costs, HTML.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneproof.report.formatting import count, format_percent
from tuneproof.score.verdict import join_names

ON_TEST_TITLE = "On test"
LISTED = 4  # names in an enumeration
PHRASES = {"better": "better than", "cannot tell": "not distinguishable from", "worse": "worse than"}


def on_test(pairs: Sequence[Mapping[str, Any]], best: str, tested: bool) -> str:
    """Than which arms it is better on test, than which not, and what chose it; "" without comparisons.

    pairs: comparisons as values, all of the same arm and metric, corrected together, without the one that
    let the arm be recommended. best: the best arm on dev. tested: whether test compared any arm with it.
    """
    if not pairs:
        return ""
    arm, family = str(pairs[0]["arm"]), max(int(pair.get("claims") or 1) for pair in pairs)
    all_of_them = f"all {len(pairs)} other arms" if arm == best else f"all {len(pairs)} arms beside {best}"
    text = "; ".join(filter(None, [_verdicts(pairs, all_of_them), *_withheld(pairs)]))
    corrected = f"corrected for {count(family)} comparisons; " if family > 1 else ""
    return f"{text[0].upper()}{text[1:]} (exploratory, {corrected}{_chosen_by(arm, best, tested)})."


def _chosen_by(arm: str, best: str, tested: bool) -> str:
    """What chose the arm: dev, and test where it was decided there which arms are as good."""
    if not tested:
        return "no test item chose anything"
    return f"dev chose {'it' if arm == best else f'the best, {best}'}; test decided which arms are as good"


def _names(pairs: Sequence[Mapping[str, Any]]) -> str:
    return join_names([str(pair["over"]) for pair in pairs])


def _verdicts(pairs: Sequence[Mapping[str, Any]], all_of_them: str) -> str:
    """The verdicts that are not withheld; empty without one."""
    parts = []
    for outcome, phrase in PHRASES.items():
        some = [pair for pair in pairs if pair["outcome"] == outcome and not pair.get("withheld")]
        if some:
            names = all_of_them if len(some) == len(pairs) > LISTED else _names(some)
            parts.append(f"{phrase} {names}{_sizes(some)}")
    return join_names(parts) if parts else ""


def _withheld(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """With which arms there is no verdict, and why: that arm, or the recommended one, was under-trained."""
    by_reason: dict[str, list[Mapping[str, Any]]] = {}
    for pair in pairs:
        if pair.get("withheld"):
            reason = str(pair["withheld"]).removesuffix(str(pair.get("advice") or "")).rstrip(" .")
            by_reason.setdefault(reason, []).append(pair)
    return [f"no verdict on {_names(some)}, since {reason}" for reason, some in by_reason.items()]


def _sizes(pairs: Sequence[Mapping[str, Any]]) -> str:
    """By how much: the smallest and the largest difference; nothing where none is shown."""
    if pairs[0]["outcome"] == "cannot tell":
        return ""
    sizes = sorted(abs(pair["difference"]) for pair in pairs)
    in_points = bool(pairs[0].get("in_points"))
    low, high = (format_percent(size) if in_points else f"{size:.3f}" for size in (sizes[0], sizes[-1]))
    return f" by {low if low == high else f'{low} to {high}'}{' points' if in_points else ''}"
