"""What a run of an arm says of itself before it starts."""

from tests.arms.small import small_recipe
from tests.tiny_models import tiny_model
from tuneproof.methods.learning_rate import default_learning_rate
from tuneproof.study.arm_runs import tuning_text
from tuneproof.study.plan import check


def test_the_plan_names_the_learning_rate_of_each_arm_and_its_source(tmp_path):
    model = tiny_model(tmp_path / "bert", "distilbert")
    arms = ["majority", "head", "full", {"lora": {"learning_rate": 5e-3}}, {"lora": {"name": "b"}}]
    plan = check(small_recipe(tmp_path, [model], arms, seeds=[0]))
    texts = {run.arm.name: tuning_text(run, plan.recipe) for run in plan.arms}
    rates = {kind: f"{default_learning_rate(kind, 32):g}" for kind in ("adapter", "full")}
    assert texts == {
        "majority": "",
        "head": "",
        "full": f"learning rate {rates['full']} (by the width of the model, 32)",
        "lora": "learning rate 0.005",
        "b": f"learning rate {rates['adapter']} (by the width of the model, 32)",
    }
    search = {"rank": [2, 4]}
    plan = check(small_recipe(tmp_path, [model], ["lora"], seeds=[0], search=search))
    rate = f"learning rate {rates['adapter']} (by the width of the model, 32)"
    assert tuning_text(plan.arms[0], plan.recipe) == f"{rate}; dev chooses rank from 2, 4"


def test_a_setting_that_is_not_used_is_no_fact_so_that_older_studies_resume(tmp_path):
    model = tiny_model(tmp_path / "bert", "distilbert")
    facts = {
        chosen: check(small_recipe(tmp_path, [model], ["full"], compute={"deterministic": chosen}))
        .arms[0]
        .facts
        for chosen in (False, True)
    }
    absent = {"compute.deterministic", "full.more_epochs", "train.class_weights"}
    assert not absent & facts[False].keys()
    assert facts[True]["compute.deterministic"] is True
