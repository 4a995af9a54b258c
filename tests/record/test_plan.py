"""What more seeds and items would do for the claims of a finished study."""

import json

import pytest

from tests.arms.small import small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.cli.main import main
from tuneproof.errors import RunError
from tuneproof.record.plan import plan_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    arms = ["majority", {"full": {"learning_rate": 1e-3}}]
    path = tmp_path_factory.mktemp("plan")
    recipe = small_recipe(path, [tiny_model(path / "model", "bert")], arms, seeds=[0, 1])
    run_recorded(recipe)
    return recipe.out


def test_the_first_row_is_the_study_as_it_is(folder) -> None:
    [plan] = plan_study(folder)
    first, doubled, *_ = plan.rows
    assert (first.items, first.seeds) == (plan.claim.n, 2)
    assert first.mde == pytest.approx(plan.claim.mde)
    assert (doubled.items, doubled.seeds) == (2 * plan.claim.n, 2)


def test_the_command_prints_a_table_and_json(folder, capsys) -> None:
    assert main(["plan", folder]) == 0
    text = capsys.readouterr().out
    assert "Items" in text
    assert "Detectable" in text
    assert main(["plan", folder, "--json"]) == 0
    [entry] = json.loads(capsys.readouterr().out)["plans"]
    assert entry["claim"]["arm"] == "full"
    assert entry["rows"][0]["seeds"] == 2


def test_a_folder_without_a_study_is_refused(tmp_path) -> None:
    with pytest.raises(RunError, match="holds no study"):
        plan_study(tmp_path)
