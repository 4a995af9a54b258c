"""What a search tries: combinations, rungs, and which arms have a setting."""

import pytest

from tests.errors.case import meaning
from tuneproof.errors import RecipeError
from tuneproof.methods.learning_rate import default_learning_rate, rates_to_try
from tuneproof.recipe.recipe import recipe_from
from tuneproof.recipe.search import MAX_TRIALS, plan_rungs, resolve_options, search_space


def study(arms, **search):
    return recipe_from({"task": "demo", "models": ["distilbert"], "arms": arms, "search": search})


def space_of(recipe, name, width=768):
    arm = recipe.arm(name)
    return search_space(recipe.search, arm.options, resolve_options(arm.method, arm.options, width))


def test_without_a_setting_nothing_is_searched():
    recipe = study(["lora", "full"], budget=3)
    assert space_of(recipe, "lora") is None


def test_auto_tries_rates_around_that_of_each_arm():
    recipe = study(["lora", "full", "head"], learning_rate="auto")
    for name, kind in (("lora", "adapter"), ("full", "full")):
        rates = rates_to_try(default_learning_rate(kind, 768))
        assert [trial["learning_rate"] for trial in space_of(recipe, name).trials] == list(rates)
    assert space_of(recipe, "head") is None


def test_auto_in_one_arm_searches_that_arm_alone():
    recipe = study([{"lora": {"learning_rate": "auto"}}, "full"])
    assert len(space_of(recipe, "lora").trials) == 5
    assert space_of(recipe, "full") is None


def test_every_combination_is_tried_and_the_model_changes_as_seldom_as_possible():
    recipe = study(["lora"], learning_rate=[1e-4, 1e-3], rank=[8, 32], **{"train.batch_size": [8, 16]})
    trials = space_of(recipe, "lora").trials
    assert len({tuple(trial.items()) for trial in trials}) == 8
    assert [trial["rank"] for trial in trials] == [8] * 4 + [32] * 4


def test_an_arm_without_a_setting_searches_the_others_and_says_so():
    recipe = study(["lora", "full", "lp-ft"], learning_rate="auto", rank=[8, 32])
    assert set(space_of(recipe, "lora").values) == {"learning_rate", "rank"}
    for name in ("full", "lp-ft"):  # LP-FT has a rank where LoRA follows
        assert set(space_of(recipe, name).values) == {"learning_rate"}
        assert space_of(recipe, name).missing == ("rank",)


def test_settings_of_train_can_stand_in_a_mapping_of_their_own():
    nested, flat = (
        study(["lora"], train={"batch_size": [8, 16]}),
        study(["lora"], **{"train.batch_size": [8, 16]}),
    )
    assert nested.search == flat.search
    assert recipe_from(flat.values()) == flat


@pytest.mark.parametrize("trials", range(2, MAX_TRIALS + 1))
def test_the_best_third_goes_on_and_the_budget_is_never_exceeded(trials):
    rungs, budget = plan_rungs(trials, 600), 600
    assert rungs[0].trials == trials
    for rung, following in zip(rungs, [*rungs[1:], None], strict=True):
        assert (following.trials if following else 1) == -(-rung.trials // 3)
        assert not following or following.steps > rung.steps
    spent = sum(rung.trials * rung.steps for rung in rungs)
    assert budget - sum(rung.trials for rung in rungs) < spent <= budget


def test_rungs_by_hand():
    assert [(rung.trials, rung.steps) for rung in plan_rungs(5, 160)] == [(5, 16), (2, 40)]
    assert plan_rungs(1, 160) == []


TUNED = ["lexical", "lora", "full"]
WRONG = {
    "unknown": (
        TUNED,
        {"learning_rat": [1e-3]},
        "search.learning_rat is not a setting that an arm of this recipe can search. Did you mean "
        "learning_rate?",
    ),
    "of another arm": (
        ["full"],
        {"rank": [8]},
        "search.rank is not a setting that an arm of this recipe can search. Allowed: layers, learning_rate, "
        "train.batch_size, train.group_by_length, train.schedule, train.warmup_share, train.weight_decay, "
        "train.clip_norm.",
    ),
    "length of training": (
        ["full"],
        {"train.patience": [1, 2]},
        "search.train.patience is not a setting that an arm of this recipe can search. Did you mean "
        "train.batch_size?",
    ),
    "nothing trains": (
        ["lexical", "head"],
        {"rank": [8]},
        "search.rank: no arm of this recipe trains. Add lora or full to arms.",
    ),
    "auto": (
        TUNED,
        {"rank": "auto"},
        "search.rank is auto; only learning_rate can be. Write a list of values.",
    ),
    "empty": (TUNED, {"rank": []}, "search.rank is []: it is empty. Write every value to try once."),
    "twice": (
        TUNED,
        {"rank": [8, 8]},
        "search.rank is [8, 8]: it has duplicates. Write every value to try once.",
    ),
    "no list": (
        TUNED,
        {"rank": 8},
        "search.rank is 8; it should be a list of values, or auto. Write search: {rank: [...]}.",
    ),
    "out of bounds": (
        TUNED,
        {"rank": [8, 2000]},
        f"search.rank is 2000; it should be less than or equal to 1024. {meaning('arms.lora.rank')}",
    ),
    "out of train's bounds": (
        TUNED,
        {"train.batch_size": [0]},
        "search.train.batch_size is 0; it should be greater than or equal to 1. "
        f"{meaning('train.batch_size')}",
    ),
    "too many": (
        TUNED,
        {"rank": [1, 2, 4, 8, 16, 32, 64], "learning_rate": "auto"},
        "search: 7 of rank · 5 of learning_rate are 35 settings to try for lora; at most 32 are allowed. "
        "Leave out values, or search one setting after the other.",
    ),
    "trainer": (
        [{"lora": {"engine": "trainer"}}],
        {"learning_rate": "auto"},
        "search: lora has engine: trainer, and trials are trained by the loop alone. Leave engine out, or "
        "write a learning rate.",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_search_gets_its_error(case):
    arms, search, sentence = WRONG[case]
    with pytest.raises(RecipeError) as error:
        study(arms, **search)
    assert str(error.value) == f"recipe: {sentence}"
