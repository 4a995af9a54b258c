"""Names in the figure of score against cost: whole, and in the colour of their point."""

from tuneproof.report.charts import svg
from tuneproof.report.charts.cost import NEAR_PX, Mark, _distance, _name_boxes, cost_figure

NAMES = (
    "majority",
    "lexical",
    "a-long-model-name embeddings",
    "a-long-model-name head",
    "a-long-model-name full",
)


def test_names_at_the_edges_and_close_to_each_other_stay_whole() -> None:
    spread = {name: (svg.PLOT.left + 8 + 60.0 * i, svg.PLOT.top + 6.0) for i, name in enumerate(NAMES)}
    close = {name: (svg.PLOT.right - 12.0 * i, svg.PLOT.bottom - 4.0 * i) for i, name in enumerate(NAMES)}
    for points in (spread, close):
        boxes = sorted(_name_boxes([Mark(name, 1, 1, "red") for name in NAMES], points).values())
        for left, top, right, bottom in boxes:
            assert svg.PLOT.left <= left < right <= svg.WIDTH
            assert 0 <= top < bottom <= svg.PLOT.bottom


def test_a_name_has_the_colour_of_its_point() -> None:
    figure = cost_figure([Mark("a", 1, 0.5, "var(--c0)"), Mark("b", 2, 0.6, "var(--c1)")], "cost", "Accuracy")
    assert figure.count("fill:var(--c0)") == figure.count("fill:var(--c1)") == 2


def test_a_name_is_beside_its_point_or_joined_to_it_by_a_line() -> None:
    apart = [Mark(name, 10.0**i, 0.5 + 0.1 * i, "red") for i, name in enumerate("abc")]
    points = {mark.name: (100.0 * (i + 1), 60.0 + 40 * i) for i, mark in enumerate(apart)}
    assert all(_distance(box, *points[name]) <= NEAR_PX for name, box in _name_boxes(apart, points).items())
    assert "leader" not in cost_figure(apart, "cost", "Accuracy")
    crowded = [Mark(f"an arm of number {i}", 1.0, 0.5, "red") for i in range(12)]
    boxes = _name_boxes(crowded, {mark.name: (200.0, 100.0) for mark in crowded})
    away = [box for box in boxes.values() if _distance(box, 200.0, 100.0) > NEAR_PX]
    assert 0 < len(away) < len(crowded)
    assert 0 < cost_figure(crowded, "cost", "Accuracy").count('class="leader"') < len(crowded)


def test_a_scale_of_small_costs_has_no_exponents() -> None:
    figure = cost_figure([Mark("a", 2e-7, 0.5, "red"), Mark("b", 2e-5, 0.6, "red")], "cost", "Accuracy")
    assert ">0.000001<" in figure
    assert "e-0" not in figure
