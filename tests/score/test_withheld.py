"""A verdict against an under-trained arm is withheld with its numbers; one in its favour stands."""

from dataclasses import replace

import pytest

from tests.score.arms import pair_of
from tests.score.test_compare import compared
from tuneproof.score.compare import adjust
from tuneproof.score.verdict import UnderTrained, make_verdict, withhold

ADVICE = "Go on with `tuneproof run s/recipe.yaml --extend full`."
FULL = {"full": UnderTrained("full was still improving when its training ended (dev loss 1.6 → 1.5)", ADVICE)}
HEAD = {"head": UnderTrained("head gave up", "Raise epochs.")}


@pytest.fixture(scope="module")
def worse():
    return compared(*pair_of(600, 20, 100, 152))


def test_worse_is_withheld_with_its_numbers(worse) -> None:
    assert worse.outcome == "worse"
    found = withhold(worse, FULL)
    assert found.outcome == "cannot tell"
    assert found.sentence.startswith(
        "Cannot tell whether full is worse than head: full was still improving when its training ended "
        "(dev loss 1.6 → 1.5). Accuracy 71.1 % versus 80.3 %, −9.2 points (95 % CI "
    )
    assert found.sentence.endswith(ADVICE)
    assert found.withheld == f"{FULL['full'].reason}. {ADVICE}"
    numbers = ("value", "over_value", "difference", "low", "high", "p_value", "p_adjusted", "claims", "mde")
    assert all(getattr(found, name) == getattr(worse, name) for name in numbers)


def test_better_than_an_under_trained_arm_is_withheld_too() -> None:
    better = compared(*pair_of(600, 100, 20, 152))
    assert better.outcome == "better"
    found = withhold(better, HEAD)
    assert found.outcome == "cannot tell"
    assert found.sentence.startswith(
        "Cannot tell whether full is better than head: head gave up. Accuracy 80.3 %"
    )


def test_better_of_an_under_trained_arm_stands_and_mentions_it(worse) -> None:
    better = compared(*pair_of(600, 100, 20, 152))
    found = withhold(better, FULL)
    assert (found.outcome, found.withheld) == ("better", "")
    assert found.sentence == f"{better.sentence} Note: {FULL['full'].reason}."
    assert withhold(worse, HEAD).outcome == "worse"


def test_arms_without_a_diagnosis_are_judged_as_before(worse) -> None:
    assert withhold(worse, {"other": FULL["full"]}) == worse
    assert withhold(worse, {}) == worse


def test_a_withheld_claim_still_counts_in_holms_correction(worse) -> None:
    near = replace(compared(*pair_of(95, 3, 12, 10)), arm="lora")
    alone = adjust([near])[0]
    claims = [withhold(claim, FULL) for claim in adjust([worse, near])]
    assert [claim.claims for claim in claims] == [2, 2]
    assert claims[0].withheld
    assert claims[1].p_adjusted == pytest.approx(min(1.0, near.p_value))
    third = [withhold(claim, FULL) for claim in adjust([worse, near, replace(near, arm="qlora")])]
    assert third[1].p_adjusted == pytest.approx(min(1.0, 2 * alone.p_value))


def test_a_baseline_is_not_called_better_than_an_under_trained_arm(worse) -> None:
    claim = replace(compared(*pair_of(680, 95, 23, 74)), over="zero-shot")
    beaten = withhold(replace(worse, over="lexical"), FULL)
    weaker = withhold(replace(worse, over="majority", over_value=0.75), FULL)
    found = make_verdict([claim], [weaker, beaten])
    assert "Caution" not in found["sentence"]
    assert found["sentence"] == (
        f"{claim.sentence} Cannot tell whether full (71.1 %) is worse than the baseline lexical (80.3 %): "
        f"{FULL['full'].reason}. {ADVICE}"
    )
    assert found["no_better_than_baseline"] == []


def test_a_later_claim_that_is_withheld_is_undecided(worse) -> None:
    claim = compared(*pair_of(680, 95, 23, 74))
    withheld = withhold(replace(worse, over="lexical"), FULL)
    assert (
        "Another claim is undecided: Cannot tell whether full is worse"
        in (make_verdict([claim, withheld])["sentence"])
    )
    assert make_verdict([withheld])["outcome"] == "cannot tell"
