"""Claims, arms and seeds are on record before results, and what is changed later is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.arms.small import small_recipe
from tests.monitoring import run_recorded
from tuneproof.errors import TuneproofError
from tuneproof.record.conclude import conclude
from tuneproof.record.registration import register, registration_of
from tuneproof.record.study_folder import ARMS, PREDICTIONS, RECIPE, REGISTRATION
from tuneproof.report.page import render

ARM_NAMES = ["majority", "lexical", {"lexical": {"name": "bigrams"}}]
LEXICAL, BIGRAMS = ({"arm": name, "over": "majority"} for name in ("lexical", "bigrams"))


def registered(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    values = {"claim": LEXICAL, "seeds": [0], **changes}
    return register(folder, small_recipe(folder, [], values.pop("arms", ARM_NAMES), **values))


def finish_an_arm(folder: Path) -> None:
    (folder / ARMS / "majority").mkdir(parents=True)
    (folder / ARMS / "majority" / PREDICTIONS).touch()


def test_what_was_planned_is_recorded_once(tmp_path) -> None:
    first = registered(tmp_path)
    before = (tmp_path / REGISTRATION).read_bytes()
    assert registered(tmp_path) == first
    assert (tmp_path / REGISTRATION).read_bytes() == before
    registration = registration_of(first)
    assert (registration["finished"], len(registration["digest"])) == (0, 64)
    assert registration["claim_changes"] == registration["other_changes"] == []


def test_changes_before_the_first_result_are_free(tmp_path) -> None:
    registered(tmp_path)
    registration = registration_of(registered(tmp_path, claim=BIGRAMS, seeds=[0, 1]))
    assert registration["claim_changes"] == registration["other_changes"] == []


def test_a_claim_changed_added_or_dropped_after_results_is_named(tmp_path) -> None:
    registered(tmp_path)
    finish_an_arm(tmp_path)
    registered(tmp_path, claim=BIGRAMS)
    registered(tmp_path, claim=[BIGRAMS, LEXICAL])
    changes = registration_of(registered(tmp_path, claim=LEXICAL))["claim_changes"]
    assert [change.partition(" after 1 arm had finished (")[0] for change in changes] == [
        "The claim was changed from lexical over majority to bigrams over majority",
        "The claim lexical over majority was added",
        "The claim bigrams over majority was dropped",
    ]


def test_another_metric_is_another_claim(tmp_path) -> None:
    registered(tmp_path)
    finish_an_arm(tmp_path)
    (change,) = registration_of(registered(tmp_path, claim={**LEXICAL, "metric": "f1"}))["claim_changes"]
    assert "from lexical over majority to lexical over majority by f1 after" in change


def test_arms_and_seeds_added_after_results_are_named(tmp_path) -> None:
    registered(tmp_path, arms=ARM_NAMES[:2])
    finish_an_arm(tmp_path)
    registration = registration_of(registered(tmp_path, seeds=[0, 1, 2]))
    assert registration["claim_changes"] == []
    arm, seeds = registration["other_changes"]
    assert arm.startswith("The arm bigrams was added after 1 arm had finished")
    assert seeds.startswith("The seeds 1 and 2 were added after 1 arm had finished")
    assert registration["seed_additions"] == 1
    assert registration_of(registered(tmp_path, seeds=[0, 1, 2, 3]))["seed_additions"] == 2


def test_a_study_of_before_says_that_its_claims_came_after_its_results(tmp_path) -> None:
    finish_an_arm(tmp_path)
    registration = registration_of(registered(tmp_path))
    assert registration["claim_changes"] == [], "it is not known to have changed"
    (sentence,) = registration["other_changes"]
    assert sentence.startswith("The claims were first recorded after 1 arm had finished")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"entries": 3}', '{"entries": [{"digest": "x"}]}', '{"entries": ["x"]}', '{"entr']
)
def test_a_damaged_registration_is_an_error_that_names_the_file(tmp_path, text) -> None:
    (tmp_path / REGISTRATION).write_text(text)
    with pytest.raises(TuneproofError) as raised:
        registered(tmp_path)
    assert REGISTRATION in str(raised.value)
    assert (tmp_path / REGISTRATION).read_text() == text


@pytest.mark.parametrize("way", ["run again", "recipe edited by hand"])
def test_the_report_names_a_claim_that_was_changed_after_the_results(tmp_path, way) -> None:
    recipe = small_recipe(tmp_path, [], ARM_NAMES, claim=LEXICAL)
    folder = Path(recipe.out)
    run_recorded(recipe)
    page = (folder / "report.md").read_text()
    assert "before the first test prediction" in page
    assert "was changed" not in page
    if way == "run again":
        run_recorded(small_recipe(tmp_path, [], ARM_NAMES, claim=BIGRAMS))
    else:
        yaml = YAML()
        values = yaml.load((folder / RECIPE).read_text())
        values["claim"] = [BIGRAMS]
        with open(folder / RECIPE, "w") as stream:
            yaml.dump(values, stream)
        conclude(folder)
        render(folder)
    conclusion = json.loads((folder / "comparisons.json").read_text())
    (claim,) = (pair for pair in conclusion["comparisons"] if pair["claim"])
    assert claim["claims"] == len(conclusion["comparisons"]), "corrected for all that could have been chosen"
    assert claim["p_adjusted"] == pytest.approx(min(1.0, claim["claims"] * claim["p_value"]))
    verdict = conclusion["verdict"]["sentence"]
    assert verdict.startswith(("bigrams", "Cannot tell"))
    changed = (
        "The claim was changed from lexical over majority to bigrams over majority after 3 arms had finished"
    )
    assert changed in verdict
    assert f"for all {claim['claims']} comparisons, any of which could have become the claim" in verdict
    page = (folder / "report.md").read_text()
    assert changed in page
    assert "The claims were recorded before" not in page, "it is not true of this claim"
    assert "What was claimed at first was recorded before the first test prediction; the change that" in page
