"""The time a study still takes: by hand, with a clock that the test sets."""

import pytest

from tuneproof.context.time_left import TimeLeft, about

PREDICTED = {"lexical": 10.0, "lora seed 0": 45.0, "lora seed 1": 45.0}


def test_before_the_first_arm_the_prediction_is_left():
    assert TimeLeft(PREDICTED).left_s(0.0) == 100.0
    assert TimeLeft(PREDICTED).done_share(0.0) == 0.0


def test_finished_arms_correct_those_to_come():
    left = TimeLeft(PREDICTED)
    left.start_arm("lexical", 0.0)
    left.finish_arm("lexical", 20.0)
    assert left.factor == pytest.approx((20 + 10) / (10 + 10)), "a tenth of the study is trusted"
    assert left.left_s(20.0) == pytest.approx(1.5 * 90)
    left.start_arm("lora seed 0", 20.0)
    left.finish_arm("lora seed 0", 90.0)
    assert left.factor == pytest.approx((110 + 10) / (55 + 10))
    assert left.left_s(110.0) == pytest.approx(120 / 65 * 45)


def test_the_running_arm_counts_down_and_its_stage_corrects_it():
    left = TimeLeft({"lora": 40.0})
    left.start_arm("lora", 0.0)
    assert left.left_s(10.0) == pytest.approx(30.0)
    assert left.done_share(10.0) == pytest.approx(0.25)
    left.start_stage(10.0)
    left.stage_share = 0.1
    assert left.left_s(20.0) == pytest.approx(90.0), "nine times the ten seconds of the first tenth"
    assert left.left_s(90.0) > 0, "later than predicted, it still takes what its stage takes"


def test_at_the_end_nothing_is_left():
    left = TimeLeft({"lora": 40.0})
    left.start_arm("lora", 0.0)
    left.finish_arm("lora", 50.0)
    assert left.left_s(50.0) == 0.0
    assert left.done_share(50.0) == 1.0
    assert TimeLeft({}).done_share(0.0) == 1.0


def test_an_arm_that_was_finished_before_changes_nothing():
    left = TimeLeft(PREDICTED)
    left.finish_arm("head", 0.0)
    assert left.left_s(0.0) == 100.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 second"),
        (41.3, "41 seconds"),
        (100, "2 minutes"),
        (725, "12 minutes"),
        (3 * 3600, "3.0 hours"),
        (40 * 3600, "40 hours"),
        (3 * 86400, "3 days"),
    ],
)
def test_durations_are_rounded(seconds, text):
    assert about(seconds) == text
