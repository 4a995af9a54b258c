"""What an arm's probabilities are good for, item by item: answers to abstain from, and sets of labels.

In: predictions of dev and test. Out: a table. Knows nothing of: HTML, how thresholds are chosen.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tuneproof.inference.prediction import AnyPredictions
from tuneproof.report.formatting import format_percent
from tuneproof.report.slices import ArmPredictions
from tuneproof.report.tables import Table
from tuneproof.score.selective import choose_abstention, label_set_threshold

TOLERANCE = 0.05
SHARES = (1.0, 0.9, 0.8, 0.7, 0.5)  # of the test items, those with the highest confidence


def abstention_table(arms: Sequence[ArmPredictions]) -> Table | None:
    """A row for each arm with probabilities on dev and test, the means over its seeds; None without any.

    Columns: the error among the most confident test items, for several shares of them; the share that is
    answered at the threshold of dev for an error of 5 %, with the error there; the share of test items whose
    label set at 5 % holds the right label, and the mean size of the sets.
    """
    rows = []
    for arm in arms:
        pairs = [(run, dev) for run, dev in zip(arm.runs, arm.dev_runs, strict=False) if _usable(run, dev)]
        if pairs:
            rows.append((arm.row.label, *_cells(pairs)))
    if not rows:
        return None
    errors = ["Error on all", "surest 90 %", "80 %", "70 %", "50 %"]
    header = ("Arm", *errors, "Answered at 5 %", "Error there", "Right in set", "Labels a set")
    return Table(header, tuple(rows), (False, *(True for _ in header[1:])))


def _usable(run: AnyPredictions, dev: AnyPredictions | None) -> bool:
    both = [run, dev]
    return all(
        part is not None and part.kind == "labels" and part.items.probabilities_NC is not None
        for part in both
    )


def _cells(pairs: Sequence[tuple[Any, Any]]) -> list[str]:
    errors, answered, sets = [], [], []
    for run, dev in pairs:
        sure_N = run.probabilities_NC.max(axis=1)
        wrong_N = ~run.right_N
        by_confidence = wrong_N[np.argsort(-sure_N, kind="stable")]
        errors.append([by_confidence[: max(1, round(share * len(run)))].mean() for share in SHARES])
        chosen = choose_abstention(dev.probabilities_NC, ~dev.right_N, TOLERANCE)
        if chosen is not None:
            answered_N = sure_N >= chosen.threshold
            answered.append((answered_N.mean(), wrong_N[answered_N].mean() if answered_N.any() else 0.0))
        in_set_NC = run.probabilities_NC >= label_set_threshold(dev.probabilities_NC, dev.gold_N, TOLERANCE)
        sets.append((in_set_NC[np.arange(len(run)), run.gold_N].mean(), in_set_NC.sum(axis=1).mean()))
    held, size = np.mean(sets, axis=0)
    answers = (
        [f"{format_percent(value)} %" for value in np.mean(answered, axis=0)]
        if len(answered) == len(pairs)
        else []
    )
    return [
        *(f"{format_percent(value)} %" for value in np.mean(errors, axis=0)),
        *(answers or ["none", "–"]),
        f"{format_percent(held)} %",
        f"{size:.2f}",
    ]
