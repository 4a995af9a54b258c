"""How many items the forecast times at once."""

from types import SimpleNamespace

import pytest

from tuneproof.arms.timing import _Timer


@pytest.mark.parametrize("limit", [4, 16, 64])
def test_more_items_are_timed_until_they_stand_out_of_the_time_of_a_call(limit) -> None:
    timer, timed = object.__new__(_Timer), []

    def seconds(items: int) -> float:
        timed.append(items)
        return 1.0 + 0.1 * items

    timer._seconds = seconds  # type: ignore[method-assign, assignment]
    line = timer._line(4, limit, lambda items: items)  # type: ignore[arg-type, return-value]
    assert timed == {4: [1, 4], 16: [1, 4, 8, 16], 64: [1, 4, 8, 16, 32]}[limit]
    assert line.slope == pytest.approx(0.1)


def test_a_call_that_grows_with_its_items_is_timed_twice() -> None:
    timer, timed = object.__new__(_Timer), []
    timer._seconds = lambda items: timed.append(items) or 0.1 + items  # type: ignore[method-assign, assignment, func-returns-value]
    timer._line(4, 64, lambda items: items)  # type: ignore[arg-type, return-value]
    assert timed == [1, 4]


@pytest.mark.parametrize(("predicted", "most"), [(74, 4), (320, 20), (100_000, 32)])
def test_a_small_study_times_a_small_share_of_its_items_at_once(predicted: int, most: int) -> None:
    timer = object.__new__(_Timer)
    timer.predicted = predicted
    timer.context = SimpleNamespace(recipe=SimpleNamespace(predict=SimpleNamespace(batch_size=32)))  # type: ignore[assignment]
    assert timer._most_at_once() == most
