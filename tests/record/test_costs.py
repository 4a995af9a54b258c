"""What arms cost, from a study's files alone."""

import pytest

from tests.record.priced_study import SIZES, arm, write_study
from tuneproof.record.costs import study_costs

HOUR = {"per_hour": 3600.0, "currency": "EUR"}  # a second costs 1


def costs_of(tmp_path, *arms, **recipe):
    return {cost.arm: cost for cost in study_costs(write_study(tmp_path, *arms, **recipe))}


def test_without_prices_an_item_costs_seconds_of_this_machine(tmp_path) -> None:
    cost = costs_of(tmp_path, arm("a", 0.1, 0.01), arm("b", 0.1, 0.02))["a"]
    assert (cost.unit, cost.per_thousand.value) == ("s", pytest.approx(10.0))
    assert cost.per_thousand.low < 10 < cost.per_thousand.high
    assert cost.training == 10.0
    assert cost.label_cost is None


def test_prices_turn_time_labels_and_training_into_money(tmp_path) -> None:
    prices = {**HOUR, "per_label": 0.5}
    costs = costs_of(tmp_path, arm("a", 0.1, 0.01), arm("b", 0.1, 0.02, "prompt"), prices=prices)
    assert costs["a"].unit == "EUR"
    assert costs["a"].per_thousand.value == pytest.approx(10.0)
    assert costs["a"].label_cost == 0.5 * (SIZES["train"] + SIZES["dev"])
    assert costs["a"].once == 10.0 + costs["a"].label_cost
    assert costs["b"].labels == 0


def test_a_system_paid_by_token_costs_its_tokens_alone(tmp_path) -> None:
    usage = {"input_tokens": 2_400_000, "output_tokens": 240_000, "requests": 2400}
    prices = {**HOUR, "per_million_tokens": {"input": 1.0, "output": 10.0}}
    api = arm("api", 0.1, None, "system", usage=usage, time_s={"predict": 99.0})
    cost = costs_of(tmp_path, api, arm("b", 0.1, 0.02), prices=prices)["api"]
    assert cost.per_thousand.value == pytest.approx(2.0)  # 4.80 for 2,400 items of dev and test
    assert cost.once == 0.0


@pytest.mark.parametrize(
    ("usage", "prices", "reason"),
    [
        ({}, {**HOUR, "per_million_tokens": {"input": 1, "output": 1}}, "its tokens were not counted"),
        ({"input_tokens": 5}, HOUR, "the recipe has no price for it"),
        ({"input_tokens": 5}, None, "it does not run on this machine"),
    ],
)
def test_a_cost_that_is_not_known_is_never_zero(tmp_path, usage, prices, reason) -> None:
    api = arm("api", 0.1, None, "system", usage=usage, items_per_s=7.0)
    cost = costs_of(tmp_path, api, arm("b", 0.1, 0.02), prices=prices)["api"]
    assert (cost.per_item, cost.reason) == (None, reason)
    other = arm("c", 0.1, None)
    assert (
        costs_of(tmp_path / "other", other, arm("b", 0.1, 0.02))["c"].reason
        == "its predictions were not timed"
    )


def test_an_arm_of_an_older_study_costs_what_its_predictions_took(tmp_path) -> None:
    cost = costs_of(tmp_path, arm("a", 0.1, None, items_per_s=50.0), arm("b", 0.1, 0.02))["a"]
    assert cost.per_thousand.value == pytest.approx(20.0)


def test_an_own_price_stands_in_place_of_the_others(tmp_path) -> None:
    prices = {**HOUR, "arms": {"a": {"per_thousand_items": 3.0}}}
    cost = costs_of(tmp_path, arm("a", 0.1, 0.01), arm("b", 0.1, 0.02), prices=prices)["a"]
    assert cost.per_thousand.value == cost.per_thousand.high == pytest.approx(3.0)


def test_loading_is_no_training_and_what_was_made_elsewhere_has_no_known_labels(tmp_path) -> None:
    loaded = arm("a", 0.1, 0.01, time_s={"load": 7.0, "train": 3.0, "predict": 2.0})
    finished = arm("b", 0.1, 0.02, "finished", time_s={"load": 7.0, "predict": 2.0})
    costs = costs_of(tmp_path, loaded, finished, prices={**HOUR, "per_label": 0.5})
    assert costs["a"].training == 3.0
    assert (costs["b"].training, costs["b"].labels, costs["b"].label_cost) == (None, None, None)
