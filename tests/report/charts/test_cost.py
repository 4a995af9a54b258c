"""Names in the figure of score against cost: whole, and in the colour of their point."""

from tuneproof.report.charts import svg
from tuneproof.report.charts.cost import Mark, _name_boxes, cost_figure

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
