"""What more seeds or items would show."""

from dataclasses import replace

import numpy as np
import pytest

from tests.score.arms import noisy_arm
from tuneproof.score.compare import adjust, compare
from tuneproof.score.planning import more_to_tell, project
from tuneproof.settings import ScoreSettings


def seeded(seeds=3, n=600, gap=0.0, seed_gap=0.03):
    shifts = np.linspace(-seed_gap, seed_gap, seeds) if seeds > 1 else [0.0]
    arms = [
        [noisy_arm(n, 0.8 + lift + shift, 10 * offset + seed) for seed, shift in enumerate(shifts)]
        for offset, lift in enumerate((gap, 0.0))
    ]
    return compare(*arms, "accuracy", "lora", "head", ScoreSettings(), False)


def test_as_it_is_the_projection_is_the_comparison():
    pair = seeded()
    assert project(pair).mde == pytest.approx(pair.mde)
    assert project(pair).half_width == pytest.approx((pair.high - pair.low) / 2)


def test_one_seed_without_groups_is_planned_by_mcnemar():
    pair = seeded(seeds=1)
    assert pair.test == "McNemar"
    assert project(pair).mde == pytest.approx(pair.mde)
    assert project(pair, items=4).mde == pytest.approx(pair.mde / 2, rel=0.1)
    assert project(replace(pair, single_runs=("lora",)), seeds=3) is None


def test_more_seeds_help_against_their_spread_and_more_items_against_theirs():
    pair = seeded(seed_gap=0.06)
    assert project(pair, seeds=10).mde < 0.7 * project(pair).mde
    assert project(pair, items=4).mde < project(pair).mde
    assert project(pair, items=4, seeds=10).mde < project(pair, seeds=10).mde


def test_the_projection_is_corrected_for_the_claims_and_for_late_seeds():
    pair = seeded()
    assert project(adjust([pair] * 4)[0]).mde == pytest.approx(adjust([pair] * 4)[0].mde)
    late = adjust([pair], additions=1)[0]
    assert project(late).mde == pytest.approx(late.mde)
    assert late.mde > pair.mde


def test_what_would_tell_is_said_and_is_true():
    pair = replace(seeded(n=300, seed_gap=0.06), difference=0.12)
    assert pair.outcome == "cannot tell"
    sentence = more_to_tell(pair)
    assert "more seed" in sentence
    assert "a difference as large as the one seen would probably be detected" in sentence
    seeds = pair.seeds + int(sentence.split("With about ")[1].split()[0])
    assert project(pair, seeds=seeds).mde <= abs(pair.difference) < project(pair, seeds=seeds - 1).mde


def test_nothing_is_said_where_a_verdict_was_given_or_nothing_was_seen():
    assert more_to_tell(seeded(seeds=1, gap=0.15)) == ""
    same = noisy_arm(300, 0.8, 1)
    assert more_to_tell(compare([same], [same], "accuracy", "a", "b", ScoreSettings(), False)) == ""


def test_a_difference_too_small_for_any_plan_is_said_to_be():
    pair = replace(seeded(seeds=1, n=300), difference=0.00001)
    assert more_to_tell(pair) == (
        "Not even 100 times the test items would detect a difference as small as the one seen."
    )
