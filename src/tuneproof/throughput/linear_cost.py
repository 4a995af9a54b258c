"""Costs that grow along a line: seconds and bytes by a model's layers, or by items.

In: measured costs at one or two amounts. Out: the cost at any amount.
Knows nothing of: how a cost is measured, torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """A cost of `fixed` + `slope` for each unit of an amount; neither is negative."""

    fixed: float
    slope: float

    def at(self, amount: float) -> float:
        """The cost of this amount."""
        return self.fixed + self.slope * amount


def line_through(costs: Mapping[int, float]) -> Line:
    """The line through the costs of one amount or of two; through one it starts at zero.

    Noise may tilt it: a falling line becomes a level one, one that starts below zero starts at zero.
    """
    small, large = min(costs), max(costs)
    slope = (costs[large] - costs[small]) / (large - small) if large > small else costs[large] / large
    slope = min(max(slope, 0.0), costs[large] / large)
    return Line(costs[large] - slope * large, slope)


@dataclass(frozen=True)
class LayeredCost:
    """A cost by a model's layers and by items: a line over items for each measured number of layers."""

    by_layers: Mapping[int, Line]

    def at(self, layers: int, items: float) -> float:
        """The cost of this many items in a model of this many layers."""
        return line_through({depth: line.at(items) for depth, line in self.by_layers.items()}).at(layers)
