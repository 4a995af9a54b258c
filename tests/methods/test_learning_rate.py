"""The learning rate by what trains and by the width of the model."""

import pytest

from tests.arms.small import arm_of, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.methods.learning_rate import RULES, default_learning_rate, rates_to_try
from tuneproof.recipe.recipe import arm_from
from tuneproof.recipe.search import resolve_options
from tuneproof.study.plan import check


def by_hand(kind, width):
    rule = RULES[kind]
    return max(rule.lowest, min(rule.highest, rule.rate * (rule.width / width) ** rule.power))


@pytest.mark.parametrize("kind", RULES)
def test_a_wider_model_learns_at_a_lower_rate_within_the_bound(kind):
    widths = (32, 384, 640, 768, 2048, 4096)
    rates = [default_learning_rate(kind, width) for width in widths]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == RULES[kind].highest
    assert rates == [pytest.approx(by_hand(kind, width), rel=0.05) for width in widths]  # two digits


def test_adapters_learn_at_a_higher_rate_than_all_weights():
    for width in (384, 768, 2048):
        assert default_learning_rate("adapter", width) > 3 * default_learning_rate("full", width)


def test_an_unknown_width_has_the_rate_of_the_rules_own_width():
    for kind, rule in RULES.items():
        assert default_learning_rate(kind, None) == default_learning_rate(kind, rule.width) == rule.rate


def test_auto_tries_rates_on_both_sides_and_none_above_1():
    assert rates_to_try(1e-3) == (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
    assert max(rates_to_try(0.5)) == 1.0


@pytest.mark.parametrize(
    ("method", "settings", "kind"),
    [
        ("lora", [], "adapter"),
        ("qlora", [], "adapter"),
        ("full", [], "full"),
        ("full", ["full.layers=last 2"], "full"),
        ("lp-ft", [], "full"),
        ("lp-ft", ["lp-ft.then=lora"], "adapter"),
        ("lora", ["lora.learning_rate=auto"], "adapter"),
    ],
)
def test_what_trains_decides_the_kind(method, settings, kind):
    arm = arm_from(method, settings)
    options = resolve_options(arm.method, arm.options, 768)
    assert options == arm.options.model_copy(update={"learning_rate": default_learning_rate(kind, 768)})


def test_a_rate_of_the_recipe_stays():
    for value in (1e-3, 1):
        arm = arm_from("lora", [f"lora.learning_rate={value}"])
        assert resolve_options(arm.method, arm.options, 768).learning_rate == value


def test_the_head_has_no_learning_rate():
    arm = arm_from("head", [])
    assert resolve_options(arm.method, arm.options, 768) is arm.options


def test_each_model_of_a_study_gets_its_own_rate_in_facts_and_record(tmp_path):
    from tuneproof.study.run import run_study

    model = tiny_model(tmp_path / "bert", "distilbert")
    recipe = small_recipe(tmp_path, [model], ["full", {"lora": {"learning_rate": 5e-3}}], train={"epochs": 1})
    assert recipe.arm("full").options.learning_rate is None
    runs = {run.arm.name: run for run in check(recipe).arms}
    width = runs["full"].spec.width
    assert runs["full"].facts["full.learning_rate"] == default_learning_rate("full", width)
    assert runs["lora"].facts["lora.learning_rate"] == 5e-3
    run_study(recipe)
    assert arm_of(recipe, "full")["options"]["learning_rate"] == default_learning_rate("full", width)
