"""What is said of samples is what their comparisons bear."""

from typing import Any

import pytest

from tuneproof.report.charts.label_efficiency import SizedLine, _sentence
from tuneproof.report.formatting import NumberStyle
from tuneproof.report.tables import ArmRow, Score

ROW = ArmRow("full", None, "full", "tuned", (), "done", "", {}, 10, 10, 1.0, 1, 1.0)


def adds(outcome: str, margin_outcome: str = "cannot tell") -> dict[str, Any]:
    difference = -0.05 if outcome == "worse" else 0.05
    values = {"difference": difference, "low": -0.01, "high": 0.11, "mde": 0.08, "margin": 0.01}
    return {"outcome": outcome, "margin_outcome": margin_outcome, "over": "few-shot", **values}


def said(*gains: dict[str, Any] | None, **more: Any) -> str:
    sizes = [*(50, 200, 800)[: len(gains)], 4000]
    scores = [Score(0.8)] * len(sizes)
    return _sentence(SizedLine(ROW, "red", sizes, scores, [*gains, None], **more), NumberStyle())


ALL_ADD = "all 4,000 add +5.0 (CI −1.0 to +11.0)"
UNSURE, SHOWN = adds("better"), adds("cannot tell", "as good or worse")


@pytest.mark.parametrize(
    ("gains", "sentence"),
    [
        ((UNSURE, SHOWN), f"full on 200 items is as good as on all, within 1.0: {ALL_ADD}."),
        (
            (UNSURE, adds("cannot tell")),
            "No sample of full is shown to be as good as all 4,000 items within 1.0: they add +5.0 "
            "(CI −1.0 to +11.0) to 200.",
        ),
        ((None, SHOWN), f"full on 200 items is as good as on all, within 1.0: {ALL_ADD}."),
        ((None, None), "full: no sample could be compared with all of train."),
        ((adds("worse"),), "full on 50 items is better than on all: all 4,000 add −5.0 (CI −1.0 to +11.0)."),
    ],
)
def test_no_more_is_said_than_was_shown(gains: tuple[dict[str, Any] | None, ...], sentence: str) -> None:
    assert said(*gains) == sentence


def test_steps_say_what_more_labels_buy() -> None:
    steps = [None, UNSURE, UNSURE]
    assert said(UNSURE, SHOWN, steps=steps).endswith(
        " More labels buy: from 50 to 200 +5.0 (CI −1.0 to +11.0), from 200 to 4,000 +5.0 (CI −1.0 to +11.0)."
    )


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        (
            ("worse", "cannot tell", "better"),
            "It is worse than few-shot up to 50 items and better from 4,000 items on.",
        ),
        (("cannot tell", "better", "better"), "It is better than few-shot from 200 items on."),
        (("worse", "worse", "worse"), "It is worse than few-shot up to 4,000 items."),
        (("cannot tell",) * 3, "On none of these sizes is it told apart from few-shot."),
    ],
)
def test_a_prompted_arm_is_passed_between_two_sizes(outcomes: tuple[str, ...], sentence: str) -> None:
    assert said(UNSURE, SHOWN, over_prompted=[adds(o) for o in outcomes]).endswith(sentence)
