"""What is said of samples is what their comparisons bear."""

import pytest

from tuneproof.report.charts.label_efficiency import SizedLine, _sentence
from tuneproof.report.formatting import NumberStyle
from tuneproof.report.tables import ArmRow, Score

ROW = ArmRow("full", None, "full", "tuned", (), "done", "", {}, 10, 10, 1.0, 1, 1.0)


def said(*outcomes: str | None) -> str:
    adds = [
        {"outcome": o, "difference": -0.05 if o == "worse" else 0.05, "low": -0.01, "high": 0.11, "mde": 0.08}
        if o
        else None
        for o in outcomes
    ]
    sizes = [*(50, 200, 800)[: len(adds)], 4000]
    scores = [Score(0.8)] * len(sizes)
    return _sentence(SizedLine(ROW, "red", sizes, scores, [*adds, None]), NumberStyle())


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        (
            ("better", "cannot tell"),
            "full on 200 items is not shown to be worse than on all 4,000, which add +5.0",
        ),
        (("better", "better"), "full on all 4,000 items is better than on 50, 200."),
        ((None, "better"), "full on all 4,000 items is better than on 200."),
        ((None, None), "full: no sample could be compared with all of train."),
        (("worse",), "full on 50 items is better than on all 4,000: +5.0."),
    ],
)
def test_no_more_is_said_than_was_compared(outcomes: tuple[str | None, ...], sentence: str) -> None:
    assert said(*outcomes).startswith(sentence)
