"""Scales, ticks, fronts and pictures."""

import re

from tuneproof.report.charts.calibration import Bin, reliability_figure
from tuneproof.report.charts.cost import Mark, cost_figure, pareto
from tuneproof.report.charts.forest import difference_scale, difference_strip, score_scale
from tuneproof.report.charts.svg import Scale, log_ticks, safe, tag, thin, ticks
from tuneproof.report.formatting import NumberStyle
from tuneproof.report.tables import Score


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.47, 0.93, 5) == [0.5, 0.6, 0.7, 0.8, 0.9]
    assert ticks(3, 3) == [3]
    assert log_ticks(0.02, 900) == [0.1, 1, 10, 100]


def test_a_scale_clips_and_keeps_its_ends() -> None:
    scale = Scale(1, 100, 0, 10, log=True)
    assert [scale(x) for x in (0.001, 1, 10, 100, 1e9)] == [0, 0, 5, 10, 10]
    assert Scale(2, 2, 0, 10)(2) == 5


def test_the_score_scale_holds_every_interval_within_0_and_1() -> None:
    scale = score_scale([Score(0.99, 0.97, 1.0), Score(0.5, 0.45, 0.55)])
    assert 0 <= scale.low < 0.45
    assert scale.high == 1.0


def test_the_front_keeps_what_nothing_cheaper_beats() -> None:
    marks = [Mark(n, x, y, "red") for n, x, y in (("a", 1, 0.5), ("b", 2, 0.4), ("c", 3, 0.9), ("d", 3, 0.8))]
    assert [mark.name for mark in pareto(marks)] == ["a", "c"]


def test_arms_without_trainable_parameters_stand_at_zero() -> None:
    marks = [Mark("lexical", 0, 0.8, "grey"), Mark("full", 2e7, 0.9, "blue")]
    picture = cost_figure(marks, "trainable parameters", "Accuracy")
    assert ">0</text>" in picture
    assert "Pareto front: lexical, full." in picture


def test_a_difference_says_what_the_test_set_could_show() -> None:
    pair = {"arm": "full", "over": "head", "difference": 0.02, "low": -0.01, "high": 0.05, "mde": 0.04}
    strip = difference_strip(pair, NumberStyle(True, 1), difference_scale([pair]))
    assert "+2.0; smallest detectable difference 4.0" in strip
    assert 'class="mde"' in strip


def test_thinning_keeps_the_mean_and_the_limit() -> None:
    points = [(float(x), float(x % 2)) for x in range(1000)]
    few = thin(points, 100)
    assert len(few) == 100
    assert all(y == 0.5 for _, y in few)


def test_names_cannot_leave_their_element() -> None:
    hostile = '"><script>\u202e'
    assert tag("text", {"x": hostile}, [hostile]) == (f'<text x="{safe(hostile)}">{safe(hostile)}</text>')
    assert "<script" not in safe(hostile)


def test_a_reliability_picture_draws_before_and_after() -> None:
    bins = [Bin(0.6, 0.5, 10), Bin(0.9, 0.95, 90)]
    picture = reliability_figure("full", bins, bins[:1], "red")
    assert len(re.findall("<circle", picture)) == 3
    assert "confidence 90.0 %, accuracy 95.0 % on 90 items" in picture
