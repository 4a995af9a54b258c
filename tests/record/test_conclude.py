"""Comparisons and the verdict, from files alone."""

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.arms.small import folder_of, small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.errors import RecipeError, RunError
from tuneproof.record.compare_folders import compare_arms, compare_studies
from tuneproof.record.conclude import conclude
from tuneproof.record.finished_arms import finished_arms
from tuneproof.record.study_folder import read_study
from tuneproof.report.page import render


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conclude")
    models = [tiny_model(folder / name, "llama", seed=place) for place, name in enumerate("ab")]
    recipe = small_recipe(
        folder,
        models,
        ["majority", "lexical", "head", {"lora": {"learning_rate": 5e-3}}],
        seeds=[0, 1],
        claim=[{"arm": "lora", "over": "head"}, {"arm": "head", "over": "majority"}],
    )
    run_recorded(recipe)
    return recipe


def test_the_conclusion_is_the_same_from_a_copy_of_the_files(study, tmp_path) -> None:
    moved = Path(shutil.copytree(study.out, tmp_path / "moved"))
    (moved / "comparisons.json").unlink()
    shutil.rmtree(moved / "cache")
    conclude(moved)
    for name in ("comparisons.json",):
        assert (moved / name).read_bytes() == (Path(study.out) / name).read_bytes()


def test_seeds_of_an_arm_are_one_arm(study) -> None:
    arms = {(arm.arm, arm.model): len(arm.runs) for arm in finished_arms(read_study(study.out).arms)}
    assert arms == {
        ("majority", None): 1,
        ("lexical", None): 1,
        ("head", "a"): 1,
        ("head", "b"): 1,
        ("lora", "a"): 2,
        ("lora", "b"): 2,
    }


def test_a_claim_is_made_for_every_model(study) -> None:
    made = json.loads((Path(study.out) / "comparisons.json").read_text())["comparisons"]
    claims = [(c["arm"], c["over"]) for c in made if c["claim"]]
    assert sorted(claims) == [
        ("a head", "majority"),
        ("a lora", "a head"),
        ("b head", "majority"),
        ("b lora", "b head"),
    ]
    pairs = [frozenset((c["arm"], c["over"])) for c in made]
    assert len(set(pairs)) == len(pairs), "a pair is compared once"
    assert not any("a " in c["arm"] and "b " in c["over"] for c in made)
    assert all(c["n"] == 12 for c in made)


def test_the_claims_arm_is_compared_with_every_other_arm_of_its_model(study, tmp_path) -> None:
    moved = Path(shutil.copytree(study.out, tmp_path / "moved"))
    yaml = YAML(typ="safe")
    recipe = yaml.load(moved / "recipe.yaml")
    recipe["claim"] = [{"arm": "lora", "over": "majority"}]
    yaml.dump(recipe, moved / "recipe.yaml")
    conclude(moved)
    made = json.loads((moved / "comparisons.json").read_text())["comparisons"]
    pairs = {(c["arm"], c["over"]): c["claim"] for c in made}
    assert pairs["a lora", "a head"] is False
    assert pairs["b lora", "b head"] is False
    assert pairs["a lora", "majority"] is True


def test_a_claim_with_a_margin_says_whether_the_arms_are_as_good_within_it(study, tmp_path) -> None:
    moved = Path(shutil.copytree(study.out, tmp_path / "moved"))
    yaml = YAML(typ="safe")
    recipe = yaml.load(moved / "recipe.yaml")
    recipe["claim"] = [{"arm": "lora", "over": "majority", "margin": 99.5}]
    yaml.dump(recipe, moved / "recipe.yaml")
    sentence = conclude(moved)["sentence"]
    claims = [c for c in json.loads((moved / "comparisons.json").read_text())["comparisons"] if c["claim"]]
    assert {c["margin"] for c in claims} == {0.995}, "points of a share"
    assert all(c["margin_outcome"].startswith("as good") for c in claims)
    assert "is as good as majority" in sentence
    assert "within 99.5 points" in sentence
    render(moved)
    assert 'class="margin"' in (moved / "report.html").read_text()
    recipe["claim"][0]["margin"] = 0
    yaml.dump(recipe, moved / "recipe.yaml")
    with pytest.raises(RecipeError, match="margin"):
        conclude(moved)


def test_two_arms_are_compared_by_their_folders(study) -> None:
    one, two = folder_of(study, "a.head"), folder_of(study, "majority")
    found = compare_arms(one, two, "accuracy")
    made = json.loads((Path(study.out) / "comparisons.json").read_text())["comparisons"]
    same = next(c for c in made if (c["arm"], c["over"]) == ("a head", "majority"))
    for key in ("value", "over_value", "difference", "only_arm_right", "only_over_right"):
        assert found[key] == same[key]
    backwards = compare_arms(two, one, "accuracy")
    assert backwards["difference"] == -found["difference"]


def test_two_studies_are_compared_arm_by_arm(study, tmp_path) -> None:
    moved = Path(shutil.copytree(study.out, tmp_path / "moved"))
    found = compare_studies(Path(study.out), moved, "accuracy")
    assert len(found) == 6
    assert {one["outcome"] for one in found} == {"cannot tell"}
    assert {one["difference"] for one in found} == {0.0}


def test_arms_on_other_items_are_not_compared(study, tmp_path) -> None:
    other = small_recipe(tmp_path, [], ["majority"], split={"seed": 3})
    run_recorded(other)
    with pytest.raises(RunError, match="items"):
        compare_arms(folder_of(study, "majority"), folder_of(other, "majority"), "accuracy")
    with pytest.raises(RunError, match="items"):
        compare_studies(Path(study.out), Path(other.out), "accuracy")


def test_studies_without_a_common_arm_are_not_compared(study, tmp_path) -> None:
    other = small_recipe(tmp_path, [], [{"majority": {"name": "most"}}])
    run_recorded(other)
    with pytest.raises(RunError, match="have no finished arm in common"):
        compare_studies(Path(study.out), Path(other.out), "accuracy")


def test_a_claim_whose_arm_failed_gets_no_verdict(study, tmp_path) -> None:
    moved = Path(shutil.copytree(study.out, tmp_path / "moved"))
    for folder in (moved / "arms").glob("*head*"):
        about = json.loads((folder / "arm.json").read_text())
        (folder / "arm.json").write_text(json.dumps({**about, "status": "failed", "reason": "x"}))
    found = conclude(moved)
    assert "No verdict" in found["sentence"] or "head" not in found["sentence"]


def test_a_seed_that_one_arm_lacks_is_left_out_of_the_comparison(tmp_path):
    from tuneproof.study.study import run

    out = tmp_path / "s"
    recipe = {
        "task": "demo",
        "models": ["demo"],
        "arms": ["majority", {"few-shot": {"shots": 2}}, {"few-shot": {"name": "four", "shots": 4}}],
        "seeds": [0, 1],
        "claim": {"arm": "four", "over": "few-shot"},
        "split": {"test_size": 40, "dev_size": 20},
        "encode": {"max_length": 512},
        "out": str(out),
    }
    run(recipe)
    about = json.loads((out / "arms" / "demo.four.seed1" / "arm.json").read_text())
    about |= {"status": "failed", "reason": "out of memory"}
    (out / "arms" / "demo.four.seed1" / "arm.json").write_text(json.dumps(about))
    conclude(out)
    found = json.loads((out / "comparisons.json").read_text())
    claim = next(c for c in found["comparisons"] if c["claim"])
    assert claim["seeds"] == 1
    assert claim["single_runs"] == ["four", "few-shot"], "of either one run is compared"
    sentence = found["verdict"]["sentence"].lower()
    assert "this run of four" in sentence
    assert "this run of few-shot" in sentence


def test_two_seeds_and_arms_without_chance_are_not_said_to_be_one_seed(study) -> None:
    made = json.loads((Path(study.out) / "comparisons.json").read_text())
    assert "this run of" not in made["verdict"]["sentence"]
