"""What this machine is missing is said before anything trains."""

import json
from pathlib import Path

import pytest

from tests.arms.small import arm_of, small_recipe
from tests.devices.pretended import PretendedDevice
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.errors import RecipeError
from tuneproof.recipe.recipe import Recipe, recipe_from
from tuneproof.study.checks import check_machine, missing_for_metrics
from tuneproof.study.plan import check, plan_study


def with_compute(recipe: Recipe, **settings) -> Recipe:
    return recipe.model_copy(update={"compute": recipe.compute.model_copy(update=settings)})


def test_a_metric_that_will_not_be_scored_is_named_once_before_training(monkeypatch):
    monkeypatch.setenv("WORDNET", "/nowhere")
    task = {"questions": {"path": "faq.jsonl"}}
    findings = missing_for_metrics(recipe_from({"task": task, "arms": ["majority"]}))
    assert [finding.level for finding in findings] == ["warning"]
    assert "meteor is not computed: WordNet" in findings[0].message
    assert missing_for_metrics(recipe_from({"task": "sst2", "arms": ["majority"]})) == []


@pytest.mark.parametrize("plan", [check, plan_study])
def test_shards_are_refused_in_the_precision_that_the_card_and_the_models_choose(tmp_path, plan) -> None:
    llama = tiny_model(tmp_path / "llama", "llama")
    gemma = tiny_model(tmp_path / "gemma", "gemma3_text")
    compute = {"device": "auto", "parallel": "fsdp"}
    recipe = small_recipe(tmp_path, [llama], ["head"], compute=compute)
    with PretendedDevice("cuda", bf16=False):
        with pytest.raises(RecipeError) as caught:
            plan(recipe)
        plan(with_compute(recipe, precision="fp32"))
        plan(with_compute(recipe, parallel="ddp"))
        plan(small_recipe(tmp_path, [llama, gemma], ["head"], compute=compute))  # fp32 by the models
    assert str(caught.value) == (
        "compute.precision: auto is fp16 here, and fp16 cannot be combined with compute.parallel: fsdp: the "
        "shards have no common loss scale. Write fp32, or compute: {parallel: ddp}."
    )
    with PretendedDevice("cuda"):
        plan(recipe)
    plan(recipe)


def test_shards_on_other_machines_are_refused_in_their_precision(tmp_path) -> None:
    model = tiny_model(tmp_path / "llama", "llama")
    recipe = small_recipe(tmp_path, [model], ["head"], compute={"device": "auto", "parallel": "fsdp"})
    machine = {"compute.device": "cuda", "compute.precision": "fp16"}
    with pytest.raises(RecipeError, match="auto is fp16 here"):
        plan_study(recipe, machine=machine)
    plan_study(recipe, machine={**machine, "compute.precision": "bf16"})


def test_a_study_that_began_in_bf16_goes_on_where_the_card_emulates_it(tmp_path) -> None:
    model = tiny_model(tmp_path / "llama", "llama")
    arms = ["majority", "head"]
    compute = {"device": "auto", "precision": "bf16"}
    recipe = small_recipe(tmp_path, [model], arms, compute=compute, predict={"timing_s": 0})
    with PretendedDevice("cuda"):
        run_recorded(recipe)
    head = next((Path(recipe.out) / "arms").glob("llama*"))
    (head / "arm.json").unlink()  # a stopped arm
    with PretendedDevice("cuda", bf16=False):
        run_recorded(recipe)
    emulated = "Precision bf16: Tesla T4 has no instructions for it, and torch emulates them, slowly."
    assert emulated in arm_of(recipe, "head")["notes"]
    facts = json.loads((head / "facts.json").read_text("utf-8"))
    facts["facts"]["compute.precision"] = "fp32"
    (head / "facts.json").write_text(json.dumps(facts), "utf-8")
    with PretendedDevice("cuda", bf16=False):
        for other in (recipe, recipe.model_copy(update={"out": str(tmp_path / "new")})):
            with pytest.raises(RecipeError, match="bf16 is requested, but Tesla T4"):
                check_machine(other)
