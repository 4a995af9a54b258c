"""Costs along a line: by hand."""

import pytest

from tuneproof.throughput.linear_cost import LayeredCost, Line, line_through


def test_a_line_through_two_amounts_gives_both_and_what_lies_beyond():
    line = line_through({1: 5.0, 3: 9.0})
    assert line == Line(fixed=3.0, slope=2.0)
    assert [line.at(amount) for amount in (1, 3, 18)] == [5.0, 9.0, 39.0]


def test_through_one_amount_the_cost_is_proportional():
    assert line_through({4: 2.0}).at(6) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("costs", "line"),
    [({1: 5.0, 3: 4.0}, Line(4.0, 0.0)), ({1: 1.0, 3: 9.0}, Line(0.0, 3.0))],
    ids=["falling: level", "below zero at the start: from zero"],
)
def test_noise_makes_no_part_negative(costs, line):
    assert line_through(costs) == line


def test_a_cost_by_layers_and_items_is_linear_in_both():
    def cost(layers: int, items: int) -> float:
        return 2.0 + 0.5 * items + layers * (1.0 + 0.25 * items)

    timed = LayeredCost(
        {layers: line_through({items: cost(layers, items) for items in (2, 8)}) for layers in (1, 3)}
    )
    assert timed.at(18, 16) == pytest.approx(cost(18, 16))
    assert timed.at(1, 2) == pytest.approx(cost(1, 2))
