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
        "the cheapest arm that is as good as big, the best on dev (accuracy 90.0 %), within 2 points"
        in advice.reason
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
    assert advice.would_change == ("A margin of 2.5 points would be met by b, which is cheaper.",)


def test_the_items_up_to_which_an_equal_arm_is_cheaper_are_named(tmp_path) -> None:
    arms = arm("a", 0.1, 0.01), arm("b", 0.1, 0.1, "prompt", time_s={})
    advice = recommend(write_study(tmp_path, *arms))
    assert advice.name == "a"
    assert advice.would_change[0].startswith("b, as good, is cheaper in all up to 111 items (")


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
    assert "**Take.** small: the cheapest arm" in paths.markdown.read_text("utf-8")
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
