"""Comparisons: worked examples, verdicts in words, noise that is never called improvement."""

import json
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.simulated_arms import World, draw_arms

from tests.score.arms import noisy_arm, pair_of, predictions_of
from tuneproof.errors import RunError
from tuneproof.score.compare import adjust, compare
from tuneproof.score.power import smallest_detectable, smallest_detectable_mcnemar
from tuneproof.score.significance import holm, mcnemar_test, t_test
from tuneproof.score.verdict import comparison_sentence, make_verdict
from tuneproof.settings import ScoreSettings

SETTINGS = ScoreSettings()


def compared(arm, over, metric="accuracy", grouped=False, settings=SETTINGS):
    arm = arm if isinstance(arm, list) else [arm]
    over = over if isinstance(over, list) else [over]
    return compare(arm, over, metric, "full", "head", settings, grouped)


@pytest.mark.parametrize(("only_arm", "only_over", "p"), [(1, 7, 0.0391), (6, 16, 0.0347), (0, 0, 1.0)])
def test_mid_p_mcnemar_agrees_with_fagerlands_examples(only_arm, only_over, p):
    assert mcnemar_test(only_arm, only_over) == pytest.approx(p, abs=5e-5)
    assert mcnemar_test(only_over, only_arm) == mcnemar_test(only_arm, only_over)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_t_test_is_the_normal_test_with_many_degrees():
    assert t_test(1.96, 1.0) == pytest.approx(0.05, abs=1e-4)
    assert t_test(4.302653, 1.0, 2) == pytest.approx(0.05, abs=1e-6)
    assert t_test(0.0, 0.0) == 1.0


@pytest.mark.parametrize(
    ("n", "discordance", "points"), [(872, 0.06, 2.3), (1821, 0.06, 1.6), (25_000, 0.06, 0.43)]
)
def test_the_smallest_detectable_difference_agrees_with_published_ones(n, discordance, points):
    found = 100 * smallest_detectable_mcnemar(n, discordance, 0.95, 0.8)
    assert round(found, 1 if points > 1 else 2) == points


def test_the_smallest_detectable_difference_never_exceeds_its_discordance():
    assert 0.005 < smallest_detectable_mcnemar(872, 0.0, 0.95, 0.8) < 0.011
    assert smallest_detectable(0.01, 1e9, 0.95, 0.8) == pytest.approx(0.02802, abs=1e-5)
    assert smallest_detectable(0.01, 2, 0.95, 0.8) == pytest.approx(0.0565, abs=1e-4)


def test_better_is_said_with_all_its_numbers():
    found = compared(*pair_of(680, 95, 23, 74))
    assert found.outcome == "better"
    assert (found.only_arm_right, found.only_over_right, found.n) == (95, 23, 872)
    assert found.sentence == (
        "full is better than head: accuracy 88.9 % versus 80.6 %, +8.3 points "
        f"(95 % CI {100 * found.low:.1f} to {100 * found.high:.1f}, McNemar test p < 0.001, n = 872)."
    )
    assert (found.low, found.high) == pytest.approx((0.059, 0.106), abs=0.001)


def test_worse_is_the_same_seen_from_the_other_side():
    arm, over = pair_of(680, 95, 23, 74)
    found = compared(over, arm)
    assert found.outcome == "worse"
    assert "full is worse than head: accuracy 80.6 % versus 88.9 %, −8.3 points" in found.sentence


def test_identical_arms_differ_by_exactly_nothing_and_cannot_be_told():
    arm = noisy_arm(300, 0.8, 0, group_size=3)
    for metric in ("accuracy", "f1_macro", "log_loss"):
        for grouped in (False, True):
            found = compared(arm, arm, metric, grouped)
            assert found.difference == 0.0
            assert found.outcome == "cannot tell"
            assert found.p_value == 1.0
            assert found.low <= 0 <= found.high
    assert compared(arm, arm).low < 0


def test_noise_is_not_called_improvement():
    # 93.82 against 93.56 on 10,000 items, as a public project announced
    found = compared(*pair_of(9056, 326, 300, 318))
    assert (found.value, found.over_value) == pytest.approx((0.9382, 0.9356))
    assert found.outcome == "cannot tell"
    assert found.sentence == (
        "Cannot tell whether full or head is better: accuracy 93.8 % versus 93.6 %, +0.3 points "
        f"(95 % CI −0.2 to {100 * found.high:.1f}). "
        "The smallest difference that this test set can detect with 80 % power is 0.7 points."
    )


def test_lower_is_better_where_the_metric_says_so():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 400)
    sure = predictions_of(gold, gold, confidence=0.9 + rng.random(400) / 20)
    unsure = predictions_of(gold, gold, confidence=0.6 + rng.random(400) / 20)
    found = compared(sure, unsure, "log_loss")
    assert found.difference < 0
    assert found.outcome == "better"
    assert "full is better than head: log loss 0." in found.sentence
    assert compared(unsure, sure, "log_loss").outcome == "worse"


def test_other_metrics_and_groups_have_the_t_test():
    arm, over = noisy_arm(300, 0.95, 0, group_size=3), noisy_arm(300, 0.6, 1, group_size=3)
    single, grouped = compared(arm, over), compared(arm, over, grouped=True)
    assert (single.test, grouped.test) == ("McNemar", "t")
    assert compared(arm, over, "f1_macro").test == "t"
    assert grouped.clusters == 100
    assert grouped.high - grouped.low > 1.4 * (single.high - single.low)
    assert "n = 300 in 100 groups" in grouped.sentence


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "log_loss"])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (2, 1, 0)])
def test_the_order_of_seeds_rows_and_arms_changes_no_figure(order, grouped, metric):
    rows = np.random.default_rng(5).permutation(900)
    arm = [noisy_arm(900, accuracy, seed, 3) for seed, accuracy in enumerate((0.85, 0.90, 0.88))]
    over = [noisy_arm(900, accuracy, seed + 9, 3) for seed, accuracy in enumerate((0.80, 0.77, 0.77))]
    reference = figures(compared(arm, over, metric, grouped))
    moved, over_moved = ([side[seed] for seed in order] for side in (arm, over))
    assert figures(compared(moved, over, metric, grouped)) == pytest.approx(reference)
    assert figures(compared(arm, over_moved, metric, grouped)) == pytest.approx(reference)
    shuffled, over_shuffled = ([run.take(rows) for run in side] for side in (arm, over))
    assert figures(compared(shuffled, over_shuffled, metric, grouped)) == pytest.approx(reference)
    mirrored = compared(over, arm, metric, grouped)
    low, high = -mirrored.high, -mirrored.low
    assert (low, high, mirrored.p_value) == pytest.approx((reference[1], reference[2], reference[3]))


def figures(comparison):
    return [comparison.difference, comparison.low, comparison.high, comparison.p_value, comparison.mde]


def test_an_arm_without_seeds_stands_against_every_seed():
    arm = [noisy_arm(800, 0.9, seed) for seed in range(3)]
    baseline = noisy_arm(800, 0.7, 99)
    found = compared(arm, baseline)
    assert found.outcome == "better"
    assert (found.seeds, found.test) == (3, "t")
    assert found == compared(arm, [baseline] * 3)
    assert ", n = 800, 3 seeds)" in found.sentence


def test_claims_made_together_are_corrected():
    clear, near = compared(*pair_of(680, 95, 23, 74)), compared(*pair_of(700, 62, 41, 69))
    assert near.outcome == "better"
    first, second = adjust([replace(clear, over="lora"), replace(near, p_value=0.04)])
    assert first.outcome == "better"
    assert "after Holm's correction for 2 comparisons" in first.sentence
    third = adjust([near, replace(near, over="lora")])[0]
    assert third.p_adjusted == pytest.approx(min(1, 2 * near.p_value))
    assert third.outcome == "cannot tell"
    assert "after Holm's correction for 2 comparisons" in third.sentence
    assert second.p_adjusted == pytest.approx(0.04)


def test_few_discordant_items_are_noted():
    assert "fewer than 10 items" in compared(*pair_of(95, 3, 1, 1)).note
    assert compared(*pair_of(60, 20, 10, 10)).note == ""


def test_the_verdict_names_trained_arms_that_a_baseline_matches_or_beats():
    claim = compared(*pair_of(680, 95, 23, 74))
    matched = replace(compared(*pair_of(640, 60, 63, 109)), over="lexical", arm="head")
    beaten = replace(compared(*pair_of(600, 20, 100, 152)), over="lexical", arm="zero-shot")
    found = make_verdict([claim], [matched, beaten])
    assert found["outcome"] == "better"
    assert found["sentence"] == (
        f"{claim.sentence} Caution: the baseline lexical (80.6 %) is better than zero-shot (71.1 %) "
        "and is not distinguishable from head (80.3 %)."
    )
    assert found["no_better_than_baseline"][1] == {
        "arm": "zero-shot",
        "baseline": "lexical",
        "outcome": "worse",
    }
    json.dumps(found, allow_nan=False)
    assert make_verdict([])["outcome"] == "cannot tell"


def test_an_arm_is_named_once_beside_the_strongest_baseline_that_it_does_not_beat():
    claim = compared(*pair_of(680, 95, 23, 74))
    weak = replace(compared(*pair_of(600, 20, 100, 152)), over="lexical", arm="zero-shot")
    weaker = replace(weak, over="majority", over_value=0.5, outcome="cannot tell")
    sentence = make_verdict([claim], [weaker, weak])["sentence"]
    assert sentence.count("zero-shot") == 1
    assert sentence.endswith("Caution: the baseline lexical (80.3 %) is better than zero-shot (71.1 %).")


def test_a_later_claim_that_fails_is_in_the_verdict_with_its_numbers_and_not_said_twice():
    claim = compared(*pair_of(680, 95, 23, 74))
    failed = replace(compared(*pair_of(600, 20, 100, 152)), over="lexical", arm="zero-shot")
    failed = replace(failed, sentence="Zero is worse than lexical: -9.2 points.")
    stood = f"{claim.sentence} Another claim does not hold: {failed.sentence}"
    assert make_verdict([claim, failed], [failed])["sentence"] == stood
    other = replace(failed, metric="f1_macro")
    assert make_verdict([claim, failed], [other])["sentence"].startswith(f"{stood} Caution: by ")
    assert make_verdict([claim, claim])["sentence"] == claim.sentence


def test_the_baselines_metric_is_named_where_the_claim_has_another():
    claim = replace(compared(*pair_of(680, 95, 23, 74)), metric="f1_macro")
    beaten = replace(compared(*pair_of(600, 20, 100, 152)), over="lexical", arm="zero-shot")
    assert make_verdict([claim], [beaten])["sentence"].endswith(
        "Caution: by accuracy, the baseline lexical (80.3 %) is better than zero-shot (71.1 %)."
    )


def test_metrics_of_questions_are_named_in_words():
    claim = compared(*pair_of(680, 95, 23, 74))
    said = {
        name: comparison_sentence(replace(claim, metric=name)).split(": ")[1]
        for name in ("squad_f1_has_answer", "squad_exact", "squad_no_answer", "f1_macro")
    }
    assert said["squad_f1_has_answer"].startswith("F1 of answerable questions 8")
    assert said["squad_exact"].startswith("exact match 8")
    assert said["squad_no_answer"].startswith("unanswerable questions right 8")
    assert said["f1_macro"].startswith("f1 macro 8")


def test_what_the_first_claim_says_already_is_not_said_again():
    claim = compared(*pair_of(640, 60, 63, 109))
    assert make_verdict([claim], [claim])["sentence"] == claim.sentence


def test_arms_on_different_items_are_refused_by_name():
    before = predictions_of([0, 1] * 50, [0, 1] * 50, ids=[f"old{i}" for i in range(100)])
    after = predictions_of([0, 1] * 1250, [0, 1] * 1250)
    with pytest.raises(RunError) as caught:
        compared(before, after)
    assert str(caught.value) == (
        "full and head: the items differ: 100 and 2500 items, of which 0 ids are shared. Only scores "
        "on the same items are comparable. Run both arms in one study, so that they share the same items."
    )


def test_unequal_numbers_of_seeds_are_refused():
    arms = [noisy_arm(50, 0.8, seed) for seed in range(3)]
    with pytest.raises(RunError, match="have 3 and 2 seeds"):
        compared(arms, arms[:2])


def test_a_metric_that_one_arm_cannot_give_is_refused():
    gold = [0, 1] * 20
    with pytest.raises(RunError, match="log_loss needs probabilities"):
        compared(predictions_of(gold, gold, confidence=[0.9] * 40), predictions_of(gold, gold), "log_loss")


def test_a_claim_made_twice_or_the_other_way_round_is_corrected_for_once():
    claim = compared(*pair_of(680, 95, 23, 74))
    mirrored = replace(claim, arm=claim.over, over=claim.arm)
    other = replace(claim, over="lora")
    assert [pair.claims for pair in adjust([claim, mirrored, claim])] == [1, 1, 1]
    assert [pair.claims for pair in adjust([claim, mirrored, other])] == [2, 2, 2]


def test_what_one_of_several_claims_can_detect_is_corrected_for_them():
    arm, over = pair_of(600, 60, 40, 172)
    alone = compare([arm], [over], "accuracy", "arm", "over", SETTINGS, False)
    both, four = (adjust([replace(alone, over=f"over {i}") for i in range(claims)]) for claims in (2, 4))
    assert alone.mde < both[0].mde < four[0].mde
    assert four[0].mde == pytest.approx(smallest_detectable_mcnemar(872, 100 / 872, 0.9875, 0.8))
    assert "can detect with 80 % power after Holm's correction for 4 comparisons is" in four[0].sentence
    assert adjust([alone])[0].mde == alone.mde


def test_the_mde_of_several_seeds_is_corrected_too():
    arm = [noisy_arm(400, 0.8, seed) for seed in range(3)]
    over = [noisy_arm(400, 0.79, seed) for seed in range(3, 6)]
    alone = compare(arm, over, "accuracy", "arm", "over", SETTINGS, False)
    corrected = adjust([alone], hypotheses=5)[0]
    assert corrected.mde == pytest.approx(smallest_detectable(alone.error, alone.df, 0.99, 0.8))
    assert corrected.claims == 5


def test_p_values_that_were_not_computed_count_in_holms_correction():
    assert holm([0.01, 0.04]) == pytest.approx([0.02, 0.04])
    assert holm([0.01, 0.04], hypotheses=10) == pytest.approx([0.1, 0.36])


def test_a_lone_run_of_an_arm_with_chance_varies_as_the_others_runs_do():
    rng, called, treated_as_fixed, studies = np.random.default_rng(0), 0, 0, 250
    world = World(872, 0.8, seeds=5, seed_sd=0.02)
    for _ in range(studies):
        arm, other = draw_arms(world, (0.8, 0.8), rng)
        settings = ScoreSettings()
        pair = (arm, other[:1], "accuracy", "arm", "other", settings, False)
        fair = compare(*pair, with_chance=(True, True))
        called += fair.outcome != "cannot tell"
        treated_as_fixed += compare(*pair).outcome != "cannot tell"
    assert called / studies <= 0.06
    assert treated_as_fixed / studies > 0.1, "what is tested makes a difference"
    assert "one run of an arm that varies with the seed" in fair.note
    assert "this run of other" in fair.sentence
    mirrored = compare(other[:1], arm, "accuracy", "other", "arm", settings, False, (True, True))
    assert mirrored.error == pytest.approx(fair.error, rel=0.1)
    assert compare(*pair, with_chance=(True, False)).note == ""


def test_seeds_that_were_added_after_results_cost_more_each_time():
    pair = compared(*pair_of(700, 40, 15, 45))
    p_values = [adjust([pair], additions=k)[0].p_adjusted for k in range(4)]
    assert p_values == pytest.approx([pair.p_value * factor for factor in (1, 6, 12, 24)])
    late = adjust([pair], additions=1)[0]
    assert "after correction for the seeds added later" in late.sentence
    assert late.mde > pair.mde


def test_three_groups_can_be_told_apart_and_two_runs_of_one_group_cannot():
    arm = noisy_arm(300, 0.95, 0)
    over = noisy_arm(300, 0.55, 1)
    three = [f"group{i % 3}" for i in range(300)]
    some = compared(replace(arm, groups=three), replace(over, groups=three), grouped=True)
    assert (some.outcome, some.clusters) == ("better", 3)
    one = ["only"] * 300
    none = compared(replace(arm, groups=one), replace(over, groups=one), grouped=True)
    assert (none.outcome, none.low, none.high) == ("cannot tell", -1.0, 1.0)
    assert "No difference is large enough for this test set to detect." in none.sentence
