"""Curves of arms that are done and of arms that were cut off: the rule fires on the latter alone."""

import numpy as np
import pytest

from tuneproof.inference.prediction import Predictions
from tuneproof.record.diagnose import (
    Curves,
    diagnose_curves,
    diagnose_labels,
    diagnose_run,
    expected_gain,
    is_under_trained,
    label_entropy,
    make_curves,
)

FIVE = dict.fromkeys(("DESC", "ENTY", "HUM", "LOC", "NUM"), 86)  # 430 items, ln 5 = 1.609


def steps_of(losses, rates=None, per_epoch=10, count=16):
    """Lines of steps.jsonl; by default the learning rate decays to zero, as in a recipe."""
    total = len(losses)
    rates = [1e-3 * (total - i) / total for i in range(total)] if rates is None else rates
    return [
        {"step": i + 1, "epoch": (i + 1) / per_epoch, "loss": loss, "learning_rate": rate, "count": count}
        for i, (loss, rate) in enumerate(zip(losses, rates, strict=True))
    ]


def evaluations_of(losses, per_epoch=10):
    return [{"step": per_epoch * (i + 1), "epoch": i + 1, "dev_loss": x} for i, x in enumerate(losses)]


def names_of(train, dev, counts=FIVE, options=None):
    findings = diagnose_run(steps_of(train), evaluations_of(dev), options or {}, counts)
    return [finding.name for finding in findings]


def falling(start, end, steps=30):
    return list(np.linspace(start, end, steps))


def test_training_that_was_cut_off_is_still_improving_although_the_decay_flattens_its_curve() -> None:
    steps, evaluations = steps_of(falling(1.6, 1.1)), evaluations_of([1.35, 1.26, 1.22])
    findings = diagnose_run(steps, evaluations, {}, FIVE)
    assert [finding.name for finding in findings] == ["still_improving", "best_is_last"]
    assert findings[0].sentence.endswith("As much training again may bring it to about 1.04.")
    assert is_under_trained(findings)


def test_the_case_of_600_questions_is_found() -> None:
    train = falling(1.61, 1.57, 81)
    evaluations = evaluations_of([1.567, 1.532, 1.525], per_epoch=27)
    (first, second, *_) = diagnose_run(steps_of(train, per_epoch=27), evaluations, {}, FIVE)
    assert first.name == "not_learning"
    assert first.sentence.startswith("Training learnt next to nothing (training loss 1.58, and 1.61 for")
    assert second.name == "still_improving"
    assert second.reason == "was still improving when its training ended (dev loss 1.567 → 1.532 → 1.525)"
    assert second.sentence.endswith("It had not slowed down yet."), "nothing is extrapolated"


@pytest.mark.parametrize(
    ("train", "dev"),
    [
        (falling(1.6, 0.2), [0.9, 0.6, 0.7]),  # overfits: dev rises
        (falling(1.6, 0.05), [0.6, 0.41, 0.40]),  # the train items are fitted
        (falling(1.6, 0.5, 12) + [0.5] * 88, [0.55, 0.52, 0.51, 0.51, 0.51, 0.51, 0.51, 0.51, 0.51, 0.51]),
    ],
)
def test_finished_training_is_not_under_trained(train, dev) -> None:
    assert set(names_of(train, dev)) <= {"best_is_last"}


def test_a_last_epoch_that_is_the_best_says_nothing_alone() -> None:
    findings = diagnose_run(steps_of(falling(1.6, -0.1)), evaluations_of([0.5, 0.42, 0.41]), {}, FIVE)
    assert [finding.name for finding in findings] == ["best_is_last"]
    assert not is_under_trained(findings)


def test_a_new_heads_way_down_to_the_label_shares_is_no_improvement() -> None:
    counts = {"no": 300, "yes": 130}
    assert label_entropy([300, 130]) == pytest.approx(0.6128, abs=1e-4)
    names = names_of(falling(1.2, 0.5), [0.75, 0.63, 0.62], counts)
    assert "still_improving" not in names


def test_a_loss_above_its_start_has_diverged() -> None:
    (first, *_) = diagnose_run(steps_of(falling(1.61, 2.4)), evaluations_of([1.8, 2.0, 2.2]), {}, FIVE)
    assert first.name == "diverged"
    assert "learning rate may be too high" in first.sentence
    assert first.reason == "diverged (training loss 1.64 → 2.28)"


def test_many_skipped_updates_have_diverged_and_a_few_have_not() -> None:
    for skipped, diverged in ((6, True), (2, False)):
        steps = steps_of(falling(1.6, 0.1))
        for step in steps[:skipped]:
            step |= {"skipped": True, "loss": None}
        names = [f.name for f in diagnose_run(steps, evaluations_of([0.5, 0.4, 0.41]), {}, FIVE)]
        assert ("diverged" in names) == diverged


def test_one_epoch_is_read_from_its_training_loss() -> None:
    short, flat = falling(1.6, 1.2, 40), [1.6] * 3 + falling(1.2, 0.6, 5) + [0.6] * 32
    assert "still_improving" in [
        f.name for f in diagnose_run(steps_of(short, per_epoch=40), evaluations_of([1.2], 40), {}, FIVE)
    ]
    findings = diagnose_run(steps_of(flat, per_epoch=40), evaluations_of([0.6], 40), {}, FIVE)
    assert not is_under_trained(findings)


def test_words_have_the_loss_of_their_items() -> None:
    steps = steps_of([0.5] * 30, per_epoch=27, count=64)  # four tokens a label, 16 items a step
    curves = make_curves(steps, evaluations_of([1.7]), {"objective": "words"}, {"a": 216, "b": 216})
    assert curves.loss_S[0] == pytest.approx(0.5 * 4)
    assert curves.entropy == pytest.approx(np.log(2))


def test_questions_have_no_entropy_and_can_still_improve() -> None:
    curves = make_curves(steps_of(falling(4.0, 2.9)), evaluations_of([3.6, 3.2, 3.0]), {}, {})
    assert curves == Curves(curves.steps, curves.evaluations, curves.loss_S)
    assert [finding.name for finding in diagnose_curves(curves)] == ["still_improving", "best_is_last"]


def test_a_run_without_steps_has_no_findings() -> None:
    assert diagnose_run([], [], {}, FIVE) == []
    assert diagnose_run(steps_of([1.0]), [], {}, FIVE) == []


def predictions_with(predicted, gold):
    rows = len(gold)
    zeros = np.zeros(rows, dtype=np.int64)
    ids = [str(i) for i in range(rows)]
    return Predictions(("no", "yes"), ids, ids, np.array(gold), np.array(predicted), zeros, zeros > 0)


def test_one_label_for_all_is_found_where_the_gold_labels_are_several() -> None:
    (finding,) = diagnose_labels(predictions_with([1] * 4, [0, 1, 0, 1]))
    assert finding.name == "one_label"
    assert finding.sentence == "All 4 items of dev got the label yes; their gold labels are 2."
    assert diagnose_labels(predictions_with([1] * 4, [1] * 4)) == []
    assert diagnose_labels(predictions_with([1, 1, 0, 1], [0, 1, 0, 1])) == []
    assert not is_under_trained([finding]), "it may be all that the data bear; not_learning decides"


def test_the_expected_gain_slows_down_as_the_loss_did() -> None:
    assert expected_gain(1.0, 0.6, 0.4) == pytest.approx(0.2 * (0.5 + 0.25))
    assert expected_gain(1.0, 0.9, 0.7) == pytest.approx(0.4), "no slowing: as much again, at most"
    assert expected_gain(1.0, 0.5, 0.5) == 0.0
    assert expected_gain(1.0, 0.5, 0.6) == 0.0


def test_an_arm_whose_fitted_head_was_the_best_has_learnt() -> None:
    train = [2.5] * 30  # from a fitted head downhill
    assert "not_learning" not in names_of(train, [0.3, 0.8, 0.9])
    assert "not_learning" in names_of([1.6] * 30, [1.6, 1.6, 1.6])


def test_an_arm_that_has_learnt_nine_tenths_is_not_called_under_trained() -> None:
    assert names_of(falling(1.6, 0.1), [1.575, 0.231, 0.092]) == ["best_is_last"]
