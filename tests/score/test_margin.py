"""Verdicts with a margin: as good as, within it; better or worse by more than it; never by a lack of data."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.simulated_arms import World, draw_arms

from tests.score.arms import pair_of
from tuneproof.score.compare import adjust, compare
from tuneproof.score.intervals import LARGE_DF, Estimate
from tuneproof.score.margin import judge_margin
from tuneproof.score.verdict import Comparison, UnderTrained, withhold
from tuneproof.settings import ScoreSettings

SETTINGS = ScoreSettings()


def with_margin(counts: tuple[int, int, int, int], margin: float, claims: int = 1) -> Comparison:
    arm, over = pair_of(*counts)
    compared = compare([arm], [over], "accuracy", "head", "lora", SETTINGS, False)
    with_margin = Comparison(**{**compared.as_json(), "margin": margin})
    return adjust([with_margin, *(replace(with_margin, over=f"over {i}") for i in range(1, claims))])[0]


@pytest.mark.parametrize(
    ("difference", "error", "outcome"),
    [
        (5.0, 1.0, "better by more"),
        (0.1, 0.4, "as good either way"),
        (1.5, 1.0, "as good or better"),
        (-1.5, 1.0, "as good or worse"),
        (0.0, 3.0, "cannot tell"),
        (-5.0, 1.0, "worse by more"),
        (-0.9, 0.4, "as good or worse"),
    ],
)
def test_the_interval_beside_the_margin_decides(difference, error, outcome):
    assert judge_margin(Estimate(difference, error, error, LARGE_DF), 1.0, 0.95).outcome == outcome


def test_a_wide_interval_around_zero_is_not_equality():
    few = with_margin((30, 5, 5, 10), 0.02)
    assert few.margin_outcome == "cannot tell"
    assert "Whether head and lora are within 2 points of each other cannot be told (between" in few.sentence
    many = with_margin((7000, 500, 500, 2000), 0.02)
    assert many.outcome == "cannot tell"
    assert "head is as good as lora, within 2 points either way (between −0.5 and 0.5)." in many.sentence


def test_better_by_less_than_the_margin_is_both_better_and_as_good():
    made = with_margin((7000, 600, 500, 1900), 0.02)
    assert (made.outcome, made.margin_outcome) == ("better", "as good either way")
    assert with_margin((7000, 1500, 500, 1000), 0.02).margin_outcome == "better by more"


def test_several_claims_correct_the_margin_too():
    counts = (800, 45, 50, 105)
    assert with_margin(counts, 0.018).margin_outcome == "as good or worse"
    assert with_margin(counts, 0.018, claims=10).margin_outcome == "cannot tell"


def test_no_margin_verdict_is_given_against_an_under_trained_arm():
    worse = with_margin((700, 50, 150, 100), 0.02)
    assert (worse.outcome, worse.margin_outcome) == ("worse", "worse by more")
    held = withhold(worse, {"head": UnderTrained("head was still improving", "Go on.")})
    assert (held.outcome, held.margin_outcome) == ("cannot tell", "cannot tell")
    assert "by more than" not in held.sentence


def test_without_a_margin_nothing_is_said_of_one():
    arm, over = pair_of(700, 60, 50, 190)
    plain = adjust([compare([arm], [over], "accuracy", "head", "lora", SETTINGS, False)])[0]
    assert (plain.margin, plain.margin_outcome) == (None, "")
    assert "within" not in plain.sentence


@pytest.mark.parametrize("seeds", [1, 3])
def test_arms_at_the_margin_are_called_as_good_in_one_of_twenty_studies(seeds):
    rng, margin, studies, wrong = np.random.default_rng(seeds), 0.03, 300, 0
    world = World(1500, 0.85, seeds=seeds, seed_sd=0.003)
    for _ in range(studies):
        arm, over = draw_arms(world, (0.85 - margin, 0.85), rng)
        compared = compare(arm, over, "accuracy", "arm", "over", ScoreSettings(), False)
        judged = adjust([Comparison(**{**compared.as_json(), "margin": margin})])[0]
        wrong += judged.margin_outcome in ("as good either way", "as good or better")
    assert 0.005 <= wrong / studies <= 0.08  # 5 %, with the noise of 300 studies
