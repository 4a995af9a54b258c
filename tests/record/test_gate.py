"""The gate: a claim is shown or it is not, and a claim made up afterwards pays for it."""

import json
from pathlib import Path

import pytest

from tests.arms.small import rows_of, small_recipe, write_rows
from tests.monitoring import run_recorded
from tuneproof.cli.main import main
from tuneproof.errors import RecipeError
from tuneproof.record.gate import judge_study, read_claim

OTHER = {"positive": "negative", "negative": "positive"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """lexical over majority is claimed and shown; on `reversed` it is worse."""
    folder = tmp_path_factory.mktemp("gate")
    rows = [(text, OTHER[label]) for text, label in rows_of(tuple(OTHER), 40)]
    recipe = small_recipe(
        folder,
        [],
        ["majority", "lexical", {"lexical": {"name": "words", "characters": 0}}],
        claim={"arm": "lexical", "over": "majority"},
        tests={"reversed": str(write_rows(folder / "reversed.csv", rows))},
    )
    run_recorded(recipe)
    return Path(recipe.out)


def ask(study, claim=None, margin=None, on=None):
    return judge_study(study, read_claim(claim, None, margin) if claim else None, margin, on)


def test_a_shown_claim_of_the_recipe_passes(study) -> None:
    answer = ask(study)
    assert (answer.is_shown, answer.is_registered) == (True, True)
    assert answer.sentence.startswith("Shown: lexical is better than majority")
    assert answer.comparisons[0].claims == 1
    assert ask(study, "lexical over majority").as_json() == answer.as_json()


def test_the_same_claim_the_other_way_round_does_not(study) -> None:
    answer = ask(study, "majority over lexical")
    assert not answer.is_shown
    assert answer.sentence.startswith("Not shown: Cannot tell whether majority or lexical is better")


def test_a_claim_that_the_recipe_does_not_make_is_corrected_for_all_comparisons(study) -> None:
    answer = ask(study, "words over majority")
    assert not answer.is_registered
    assert answer.comparisons[0].claims > 1
    assert answer.comparisons[0].p_adjusted > answer.comparisons[0].p_value
    assert answer.sentence.endswith(
        "The recipe does not make this claim: it is corrected for all comparisons."
    )


def test_equal_arms_are_not_shown_to_differ_but_to_be_as_good_within_a_wide_margin(study) -> None:
    assert not ask(study, "words over lexical").is_shown
    assert ask(study, "words over lexical", margin=60).is_shown
    assert not ask(study, "words over lexical", margin=0.5).is_shown


def test_a_margin_of_its_own_makes_it_another_claim(study) -> None:
    assert not ask(study, margin=1).is_registered
    assert ask(study, margin=1).is_shown


def test_a_further_test_set_is_asked_by_name(study) -> None:
    answer = ask(study, on="reversed")
    assert not answer.is_shown
    assert "lexical is worse than majority" in answer.sentence
    with pytest.raises(RecipeError, match="Did you mean reversed"):
        ask(study, on="revesed")


@pytest.mark.parametrize(
    ("claim", "problem"),
    [
        ("lexical", "is not a claim"),
        ("lexical over lexical", "with itself"),
        ("lexicl over majority", "Did you mean lexical"),
        ("lexical over majority by accurac", "Did you mean accuracy"),
    ],
)
def test_what_is_no_claim_of_this_study_is_a_bad_request(study, claim, problem) -> None:
    with pytest.raises(RecipeError, match=problem):
        ask(study, claim)


def test_a_metric_that_arms_are_not_compared_by_is_not_shown(study) -> None:
    answer = ask(study, "lexical over majority by expected_calibration_error")
    assert not answer.is_shown
    assert "not compared" in answer.sentence


def test_an_arm_that_did_not_finish_shows_nothing(study, tmp_path) -> None:
    import shutil

    copy = Path(shutil.copytree(study, tmp_path / "copy"))
    file = copy / "arms" / "lexical" / "arm.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "status": "failed"}), "utf-8")
    assert not ask(copy).is_shown


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ([], 0),
        (["--claim", "lexical over majority", "--metric", "accuracy"], 0),
        (["--claim", "majority over lexical"], 1),
        (["--claim", "words over lexical"], 1),
        (["--claim", "nothing"], 2),
        (["--claim", "a over b"], 2),
        (["--metric", "f1"], 2),
        (["--margin", "-1"], 2),
    ],
)
def test_the_exit_code_is_the_answer(study, capsys, args, code) -> None:
    assert main(["gate", str(study), *args]) == code
    printed = capsys.readouterr()
    assert bool(printed.out) == (code < 2)
    assert bool(printed.err) == (code == 2)
    assert printed.out.count("\n") == (code < 2)
