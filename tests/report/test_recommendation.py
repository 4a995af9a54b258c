"""The one arm to take, with its reason, its cost, and what would change it."""

import json

from tests.record.priced_study import arm, write_study
from tuneproof.report.page import render
from tuneproof.report.recommendation import recommend
from tuneproof.report.tables import headline


def test_the_cheapest_arm_that_is_as_good_as_the_best_is_taken(tmp_path) -> None:
    study = write_study(
        tmp_path,
        arm("big", 0.1, 1.0),
        arm("small", 0.105, 0.01),
        arm("poor", 0.3, 0.001),
        arm("mid", 0.1, 0.1),
    )
    advice = recommend(study)
    assert (advice.name, advice.best) == ("small", "big")
    assert (
        "the cheapest per item of the arms as good as big, the best on dev (accuracy 90.0 %), within 2 "
        "points: −0.5 points (at least −0.81, corrected for 2 comparisons) on test" in advice.reason
    )
    assert "10 s (" in advice.cost
    assert "10 s for training" in advice.cost


def test_the_best_on_test_is_not_taken_for_its_test_score(tmp_path) -> None:
    lucky = arm("lucky", 0.05, 0.01, wrong_on_dev=0.3)
    advice = recommend(write_study(tmp_path, arm("a", 0.1, 0.01), lucky))
    assert advice.name == "a"


def test_a_dearer_arm_that_test_shows_to_be_better_is_named(tmp_path) -> None:
    advice = recommend(
        write_study(tmp_path, arm("a", 0.2, 0.01, wrong_on_dev=0.19), arm("b", 0.1, 1.0, wrong_on_dev=0.2))
    )
    assert advice.name == "a"
    assert any(
        line.startswith("b is better than a on test by more than the margin") for line in advice.uncertain
    )


def test_arms_that_cost_the_same_an_item_are_told_apart_by_what_is_paid_once(tmp_path) -> None:
    arms = arm("a", 0.1, 0.1), arm("b", 0.1, 0.099, time_s={"train": 500.0})
    assert recommend(write_study(tmp_path, *arms)).name == "a"


def test_a_margin_at_which_a_cheaper_arm_would_do_is_named(tmp_path) -> None:
    advice = recommend(write_study(tmp_path, arm("a", 0.1, 0.1), arm("b", 0.12, 0.001)))
    assert advice.name == "a"
    assert (
        advice.would_change[0]
        == "If a loss of up to 2.5 points were acceptable, b would do, which costs less per item."
    )


def test_the_items_up_to_which_an_equal_arm_is_cheaper_are_named(tmp_path) -> None:
    arms = arm("a", 0.1, 0.01), arm("b", 0.1, 0.1, "prompt", time_s={})
    advice = recommend(write_study(tmp_path, *arms))
    assert advice.name == "a"
    assert advice.would_change[0].startswith("b, as good, costs less in all up to 111 items (")


def test_an_under_trained_arm_is_not_dismissed(tmp_path) -> None:
    study = write_study(tmp_path, arm("a", 0.1, 0.1), arm("b", 0.2, 0.001))
    next(e for e in study.comparisons["as_good"]["arms"] if e["name"] == "b")["under_trained"] = (
        "b was still improving"
    )
    assert "b was still improving: it may be better than it seems." in recommend(study).uncertain


def test_an_arm_of_unknown_cost_is_never_taken_as_free(tmp_path) -> None:
    advice = recommend(write_study(tmp_path, arm("api", 0.1, None, "system"), arm("b", 0.3, 0.1)))
    assert advice.name == "api"
    assert advice.cost == "The cost of an item is not known: it does not run on this machine."
    assert any(line.startswith("The cost of api is not known") for line in advice.uncertain)


def test_other_prices_change_the_recommendation_without_a_run(tmp_path) -> None:
    tokens = {"input_tokens": 2400, "output_tokens": 0}
    arms = arm("api", 0.1, None, "system", usage=tokens), arm("own", 0.1, 0.1)
    for price, taken in ((1.0, "api"), (1e9, "own")):
        prices = {"per_hour": 1.0, "per_million_tokens": {"input": price, "output": 0}}
        assert recommend(write_study(tmp_path / taken, *arms, prices=prices)).name == taken


def test_the_reports_show_it_first_and_escape_it(tmp_path) -> None:
    study = write_study(tmp_path, arm("<b>big</b>", 0.1, 1.0), arm("small", 0.1, 0.01))
    paths = render(tmp_path)
    page, values = paths.html.read_text("utf-8"), json.loads(paths.json.read_text("utf-8"))
    assert "<b>big" not in page
    assert page.index('id="recommendation"') < page.index('class="facts"')
    assert values["recommendation"]["name"] == "small"
    assert values["costs"]["break_even"][0]["outcome"] == "never"
    assert "**Take.** small: the cheapest per item" in paths.markdown.read_text("utf-8")
    assert headline(study)


def test_a_caution_that_the_recommendation_makes_needless_is_left_out(tmp_path) -> None:
    study = write_study(
        tmp_path, arm("tuned", 0.1, 1.0), arm("plain", 0.1, 0.01, "baseline"), arm("weak", 0.3, 1.0)
    )
    verdict = study.comparisons["verdict"]
    assert any(part.startswith("Caution") for part in verdict["sentences"])
    assert recommend(study).name == "plain"
    assert "Caution" not in headline(study)
    study.comparisons["as_good"] = None
    assert "Caution" in headline(study)


def test_an_arm_that_is_not_shown_worse_is_not_called_worse(tmp_path) -> None:
    near, far = arm("near", 0.12, 0.001), arm("far", 0.3, 0.001)
    advice = recommend(write_study(tmp_path, arm("a", 0.1, 0.1), near, far))
    assert advice.reason == (
        "the best on dev (accuracy 90.0 %); no arm that costs less per item is shown "
        "to be as good within 2 points (near is not shown to be worse by more either)."
    )
    assert advice.would_change[-1] == (
        "More test items might: whether near (−2 points on test, between −2.5 and −1.5) is as good within 2 "
        "points is not decided."
    )
    others = [arm(f"far {i}", 0.3, 0.001) for i in range(4)]
    for count, arms in ((1, "far 0, which costs less per item,"), (4, "all 4 arms that cost less per item")):
        advice = recommend(write_study(tmp_path / str(count), arm("a", 0.1, 0.1), *others[:count]))
        assert advice.reason.endswith(f"; dev shows {arms} to be worse by more than 2 points.")
        assert advice.would_change == (
            "No price would change it: no other arm is shown to be as good within 2 points.",
        )


def test_an_arm_that_never_costs_less_is_no_reason_for_more_items(tmp_path) -> None:
    dear = arm("dear", 0.12, 9.0, time_s={"train": 99.0})
    assert recommend(write_study(tmp_path, arm("a", 0.1, 0.1), dear)).would_change == (
        "No price would change it: no other arm is shown to be as good within 2 points.",
    )


def test_from_how_many_items_the_arm_pays_is_one_sentence_near_it(tmp_path) -> None:
    arms = (
        *(arm("big", 0.1, 1.0), arm("small", 0.1, 0.01), arm("plain", 0.3, 0.001, time_s={"train": 1.0})),
        *(arm("prompt", 0.3, 1.0, "prompt", time_s={}), arm("twin", 0.3, 0.0105, time_s={"train": 99.0})),
        arm("api", 0.3, None, "system"),
    )
    prices = {"per_hour": 3600.0, "per_label": 0.5, "currency": "EUR"}
    advice = recommend(write_study(tmp_path, *arms, prices=prices))
    assert advice.pays == (
        "Counting training, labels and items, it costs less than prompt from 465 items (424 to 515). It "
        "costs less than big at any number of items. It never costs less than plain. Whether it costs less "
        "than twin cannot be told. What api would cost is not known."
    )
    paths = render(tmp_path)
    text, page = paths.markdown.read_text("utf-8"), paths.html.read_text("utf-8")
    assert f"- **When it pays.** {advice.pays}" in text
    assert (
        text.index("When it pays") < text.index("## Arms") < text.index("## From how many items an arm pays")
    )
    assert f'{advice.pays} <a href="#break-even">All pairs</a>' in page
    assert json.loads(paths.json.read_text("utf-8"))["recommendation"]["pays"] == advice.pays


def test_without_prices_labels_are_not_counted(tmp_path) -> None:
    advice = recommend(write_study(tmp_path, arm("a", 0.1, 0.1), arm("b", 0.3, 1.0)))
    assert advice.pays == "Counting training and items, it costs less than b at any number of items."


def test_the_prices_stand_beside_the_cost_in_every_report(tmp_path) -> None:
    prices = {
        "per_hour": 0.6,
        "per_label": 0.08,
        "currency": "EUR",
        "per_million_tokens": {"input": 0.5, "output": 1.5},
        "arms": {"a": {"per_thousand_items": 3.0}, "b": {"per_million_tokens": {"input": 1, "output": 2}}},
    }
    advice = recommend(write_study(tmp_path, arm("a", 0.1, 0.1), arm("b", 0.3, 1.0), prices=prices))
    text = (
        "0.6 EUR an hour of this machine, 0.08 EUR a label, 0.5 EUR a million tokens read and 1.5 EUR "
        "written, a: 3 EUR for 1,000 items, b: 1 EUR a million tokens read and 2 EUR written"
    )
    assert f"(prices: {text})" in advice.cost
    paths = render(tmp_path)
    assert f"- **Prices**: {text}." in paths.markdown.read_text("utf-8")
    assert f"<dt>Prices</dt><dd>{text}.</dd>" in paths.html.read_text("utf-8")
    assert json.loads(paths.json.read_text("utf-8"))["costs"]["prices"]["per_hour"] == 0.6


def test_the_time_of_a_single_item_names_its_statistic(tmp_path) -> None:
    few, many = arm("few", 0.1, 0.1), arm("many", 0.1, 0.1)
    many["serving"]["latency_s"] |= {"p95": 0.2, "p99": 0.3, "calls": 200}
    for entry, text in ((few, "median of 50 calls"), (many, "median of 200 calls; 99 % take at most 300 ms")):
        advice = recommend(write_study(tmp_path / entry["arm"], entry, arm("b", 0.3, 1.0)))
        assert f"A single item takes 100 ms ({text})." in advice.cost


def test_an_arm_is_not_said_to_cost_less_than_one_of_unknown_cost(tmp_path) -> None:
    system, near = arm("api", 0.1, None, "system"), arm("near", 0.12, 0.001)
    advice = recommend(write_study(tmp_path / "best", system, near))
    assert advice.reason.endswith("; no arm of known cost is shown to be as good within 2 points.")
    assert "costs less" not in " ".join(advice.would_change)
    advice = recommend(write_study(tmp_path / "equal", system, arm("own", 0.1, 0.001)))
    assert advice.reason.startswith(
        "the cheapest per item of the arms of known cost that are as good as api,"
    )


def test_unknown_costs_of_one_reason_are_one_sentence(tmp_path) -> None:
    systems = [arm(name, 0.3, None, "system") for name in ("x", "y", "z")]
    assert recommend(write_study(tmp_path, arm("a", 0.1, 0.1), *systems)).uncertain == (
        "The costs of x, y and z are not known (of each: it does not run on this machine), so they were not "
        "taken as cheap.",
    )


def test_the_recommended_arm_is_compared_with_every_other_on_test_those_that_dev_left_out_too(
    tmp_path,
) -> None:
    arms = arm("big", 0.1, 1.0), arm("small", 0.1, 0.01), arm("poor", 0.3, 0.001), arm("poorer", 0.5, 0.001)
    advice = recommend(write_study(tmp_path, *arms))
    assert advice.name == "small"
    assert advice.on_test == (
        "Better than poor and poorer by 20.0 to 40.0 points (exploratory, corrected for 5 comparisons; dev "
        "chose the best, big; test decided which arms are as good)."
    )
    assert [pair["over"] for pair in advice.pairs] == ["poor", "poorer"]
    paths = render(tmp_path)
    text, values = paths.markdown.read_text("utf-8"), json.loads(paths.json.read_text("utf-8"))
    assert f"- **On test.** {advice.on_test}" in text
    assert "### The recommended arm over others, exploratory, corrected" in text
    assert "| small over poorer | Accuracy | +40.0 [" in text
    assert values["recommendation"]["pairs"][0]["claims"] == 5
    assert text.count("small over big") + text.count("big over small") == 1, "as a claim"


def test_many_arms_are_counted_and_not_listed(tmp_path) -> None:
    advice = recommend(write_study(tmp_path, arm("a", 0.1, 0.1), *(arm(f"b{i}", 0.3, 0.1) for i in range(5))))
    assert "Better than all 5 other arms by 20.0 points (" in advice.on_test


def test_the_items_up_to_which_or_from_which_an_open_arm_costs_less_are_few_or_many(tmp_path) -> None:
    few = arm("near", 0.12, 0.2, "prompt", time_s={})
    many = arm("near", 0.12, 0.001, time_s={"train": 900.0})
    for near, size in (
        (few, "Few items might: near costs less in all up to"),
        (many, "Many items might: near"),
    ):
        advice = recommend(write_study(tmp_path / size[:3], arm("a", 0.1, 0.1), near))
        assert advice.would_change[-1].startswith(size)
