"""A temperature is found where one was put in, and changes no label."""

import numpy as np
import pytest

from tuneproof.errors import RunError
from tuneproof.score.calibration import apply_temperature, fit_temperature


def drawn(size: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Golds drawn from honest probabilities, and these made too sure by the temperature."""
    rng = np.random.default_rng(0)
    logits_NC = rng.normal(0, 1.5, (size, 3))
    honest_NC = np.exp(logits_NC) / np.exp(logits_NC).sum(axis=1, keepdims=True)
    gold_N = np.array([rng.choice(3, p=row) for row in honest_NC])
    return apply_temperature(honest_NC, 1 / temperature), gold_N


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_an_arm_too_sure_is_found(temperature: float) -> None:
    sure_NC, gold_N = drawn(4000, temperature)
    assert fit_temperature(sure_NC, gold_N) == pytest.approx(temperature, rel=0.08)


def test_a_temperature_changes_no_label_and_keeps_rows_whole() -> None:
    sure_NC, _ = drawn(200, 2.0)
    cooler_NC = apply_temperature(sure_NC, 2.0)
    assert (cooler_NC.argmax(axis=1) == sure_NC.argmax(axis=1)).all()
    np.testing.assert_allclose(cooler_NC.sum(axis=1), 1.0)
    np.testing.assert_allclose(apply_temperature(sure_NC, 1.0), sure_NC, atol=1e-12)


def test_certainty_that_is_wrong_gives_a_finite_temperature() -> None:
    certain_NC = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert 1 < fit_temperature(certain_NC, np.array([0, 1, 1])) <= 20


def test_no_items_have_no_temperature() -> None:
    with pytest.raises(RunError, match="dev has no items"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, dtype=int))
