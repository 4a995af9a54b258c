"""When to abstain, and sets of labels: what dev promises holds on new items."""

import numpy as np
import pytest

from tuneproof.score.selective import choose_abstention, label_set_threshold


def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three labels, and gold labels drawn from them."""
    probabilities_NC = rng.dirichlet((0.3, 0.3, 0.3), n)
    gold_N = (probabilities_NC.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return probabilities_NC, gold_N


@pytest.mark.parametrize("tolerance", [0.05, 0.2])
def test_sets_hold_the_right_label_as_often_as_promised(tolerance: float) -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(400):
        threshold = label_set_threshold(*draw(99, rng), tolerance)
        probabilities_NC, gold_N = draw(50, rng)
        held.append((probabilities_NC[np.arange(50), gold_N] >= threshold).mean())
    assert np.mean(held) == pytest.approx(1 - tolerance, abs=0.01)


def test_dev_of_a_few_items_promises_nothing_but_all_labels() -> None:
    assert label_set_threshold(*draw(18, np.random.default_rng(0)), 0.05) == 0.0
    assert label_set_threshold(*draw(19, np.random.default_rng(0)), 0.05) > 0.0


def test_the_error_of_what_is_answered_exceeds_the_tolerance_in_at_most_5_percent() -> None:
    rng, exceeded, answered = np.random.default_rng(1), [], []
    large_NC, large_N = draw(20_000, rng)
    for _ in range(400):
        dev_NC, dev_N = draw(1000, rng)
        chosen = choose_abstention(dev_NC, dev_NC.argmax(axis=1) != dev_N, 0.1)
        if chosen is None:
            continue
        kept_N = large_NC.max(axis=1) >= chosen.threshold
        exceeded.append((large_NC.argmax(axis=1) != large_N)[kept_N].mean() > 0.1)
        answered.append(chosen.coverage)
        assert chosen.error <= chosen.bound <= 0.1
    assert len(answered) > 300
    assert np.mean(exceeded) <= 0.05
    assert np.mean(answered) > 0.3


def test_dev_that_cannot_show_the_tolerance_is_no_reason_to_answer() -> None:
    probabilities_NC, gold_N = draw(30, np.random.default_rng(0))
    wrong_N = probabilities_NC.argmax(axis=1) != gold_N
    assert choose_abstention(probabilities_NC, wrong_N, 0.05) is None
