"""What is said of the recommended arm on test: what chose it, and no verdict on under-trained arms."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.record.priced_study import arm, write_study
from tuneproof.record.study_folder import StudyRecord
from tuneproof.report.comparison_tables import pair_name
from tuneproof.report.page import render
from tuneproof.report.recommendation import recommend
from tuneproof.report.recommended_on_test import on_test
from tuneproof.report.results import paired_differences
from tuneproof.score.verdict import Comparison, UnderTrained, withhold

IMPROVING = "was still improving when its training ended (dev loss 0.5 → 0.4)"


def withheld_pairs(study: StudyRecord, sign: int = 1, **under_trained: str) -> list[dict[str, Any]]:
    """The comparisons of the arm a, without verdicts against these arms, by why; sign: -1 if a is worse."""
    reasons = {name: UnderTrained(reason, f"Train {name} longer.") for name, reason in under_trained.items()}
    pairs = [Comparison(**pair) for pair in study.comparisons["as_good"]["pairs"] if pair["arm"] == "a"]
    if sign < 0:
        pairs = [replace(pair, difference=-pair.difference, outcome="worse") for pair in pairs]
    return [withhold(pair, reasons).as_json() for pair in pairs]


def test_what_chose_the_arm_is_true_in_each_case(tmp_path) -> None:
    best, far = arm("best", 0.1, 0.1), arm("far", 0.4, 0.1)
    cases: Mapping[str, tuple[list[dict[str, Any]], str]] = {
        "left out by dev": ([best, far], "no test item chose anything"),
        "not as good on test": (
            [best, far, arm("near", 0.12, 0.01)],
            "dev chose it; test decided which arms are as good",
        ),
        "as good on test, and cheaper": (
            [best, far, arm("near", 0.1, 0.01)],
            "dev chose the best, best; test decided which arms are as good",
        ),
    }
    for name, (arms, basis) in cases.items():
        advice = recommend(write_study(tmp_path / name, *arms))
        assert advice is not None
        assert advice.on_test.endswith((f"; {basis}).", f"(exploratory, {basis}).")), name


def test_the_comparison_that_let_an_arm_be_recommended_is_not_among_the_exploratory_ones(tmp_path) -> None:
    arms = arm("poor", 0.4, 0.1, "baseline"), arm("big", 0.1, 1.0, "baseline"), arm("small", 0.1, 0.01)
    study = write_study(tmp_path, *arms)
    advice = recommend(study)
    assert advice is not None
    assert (advice.name, advice.best) == ("small", "big")
    assert [pair["over"] for pair in advice.pairs] == ["poor"]
    assert "big" not in advice.on_test.partition("(")[0]
    assert any({p["arm"], p["over"]} == {"small", "big"} for p in study.comparisons["comparisons"])
    tables = dict(paired_differences(study, "accuracy")["tables"])
    names = {row[0] for table in tables.values() for row in table.rows}
    assert not names & {"small over big", "big over small"}
    text = render(tmp_path).markdown.read_text("utf-8")
    assert "| small over big |" not in text


def test_a_claim_stays_a_claim_where_it_let_the_arm_be_recommended(tmp_path) -> None:
    small = arm("small", 0.1, 0.01, wrong_on_dev=0.105)
    study = write_study(tmp_path, small, arm("big", 0.1, 1.0), arm("poor", 0.4, 0.1))
    advice = recommend(study)
    assert advice is not None
    assert (advice.name, advice.best) == ("small", "big")
    tables = dict(paired_differences(study, "accuracy")["tables"])
    assert [row[0] for row in tables["Claims"].rows] == ["small over big"]


def test_two_arms_leave_nothing_to_explore(tmp_path) -> None:
    study = write_study(tmp_path, arm("big", 0.1, 1.0), arm("small", 0.1, 0.01))
    advice = recommend(study)
    assert advice is not None
    assert (advice.name, advice.best, advice.on_test, advice.pairs) == ("small", "big", "", ())
    assert "On test" not in dict(advice.lines)


def test_many_arms_beside_the_best_are_not_all_others(tmp_path) -> None:
    arms = arm("big", 0.1, 1.0), arm("small", 0.1, 0.01), *(arm(f"far {i}", 0.4, 0.1) for i in range(5))
    advice = recommend(write_study(tmp_path, *arms))
    assert advice is not None
    assert advice.on_test.startswith("Better than all 5 arms beside big by 30.0 points (")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    arms = arm("a", 0.1, 0.1), arm("lora", 0.4, 1.0), arm("full", 0.4, 1.0), arm("plain", 0.4, 1.0)
    return write_study(tmp_path_factory.mktemp("study"), *arms)


def test_an_under_trained_arm_that_is_worse_is_not_said_to_be_indistinguishable(study: StudyRecord) -> None:
    pairs = withheld_pairs(study, lora=f"lora (2 of 3 seeds) {IMPROVING}")
    assert [pair_name(pair) for pair in pairs if pair["withheld"]] == ["a over lora"]
    assert on_test(pairs, "a", tested=False) == (
        "Better than full and plain by 30.0 points; no verdict on lora, since lora (2 of 3 seeds) "
        f"{IMPROVING} (exploratory, corrected for 3 comparisons; no test item chose anything)."
    )


def test_each_under_trained_arm_has_its_reason(study: StudyRecord) -> None:
    pairs = withheld_pairs(study, lora=f"lora {IMPROVING}", full="full diverged")
    assert on_test(pairs, "a", tested=False).startswith(
        f"Better than plain by 30.0 points; no verdict on lora, since lora {IMPROVING}; no verdict on full, "
        "since full diverged (exploratory"
    )
    every = withheld_pairs(study, lora="lora diverged", full="full diverged", plain="plain diverged")
    assert on_test(every, "a", tested=False).startswith("No verdict on lora, since lora diverged; no verdict")


def test_the_reason_of_an_under_trained_recommended_arm_stands_once(study: StudyRecord) -> None:
    pairs = withheld_pairs(study, sign=-1, a=f"a {IMPROVING}")
    assert {pair["outcome"] for pair in pairs} == {"cannot tell"}
    assert on_test(pairs, "a", tested=False).startswith(
        f"No verdict on lora, full and plain, since a {IMPROVING} (exploratory"
    )
