"""The best arm is chosen on dev; test shows which others are as good, corrected."""

from tests.record.priced_study import arm, write_study
from tuneproof.record.as_good import AS_GOOD


def entry(study, name):
    return next(entry for entry in study.comparisons["as_good"]["arms"] if entry["name"] == name)


def test_dev_chooses_the_best_even_where_test_prefers_another(tmp_path) -> None:
    study = write_study(
        tmp_path, arm("a", 0.05, 0.1, wrong_on_dev=0.2), arm("b", 0.2, 0.1, wrong_on_dev=0.18)
    )
    assert study.comparisons["as_good"]["best"] == "b"
    assert entry(study, "a")["outcome"] == "better by more"


def test_an_arm_that_dev_shows_to_be_worse_by_more_is_not_tested(tmp_path) -> None:
    study = write_study(
        tmp_path, arm("a", 0.1, 0.1), arm("b", 0.1, 0.1, wrong_on_dev=0.5), arm("c", 0.1, 0.1)
    )
    assert entry(study, "b")["outcome"] == "worse on dev"
    assert study.comparisons["as_good"]["compared"] == 1


def test_more_arms_make_the_test_stricter(tmp_path) -> None:
    few = write_study(tmp_path / "few", arm("a", 0.1, 0.1), arm("b", 0.11, 0.1))
    many = write_study(tmp_path / "many", *(arm(name, 0.1 + 0.01 * i, 0.1) for i, name in enumerate("abcd")))
    assert entry(few, "b")["outcome"] in AS_GOOD
    assert entry(many, "b")["low"] < entry(few, "b")["low"]


def test_the_margin_is_the_claims_or_one_point(tmp_path) -> None:
    claimed = write_study(tmp_path / "claimed", arm("a", 0.1, 0.1), arm("b", 0.1, 0.1))
    default = write_study(tmp_path / "default", arm("a", 0.1, 0.1), arm("b", 0.1, 0.1), margin=None)
    margins = [
        (study.comparisons["as_good"]["margin"], study.comparisons["as_good"]["is_default"])
        for study in (claimed, default)
    ]
    assert margins == [(0.02, False), (0.01, True)]


def test_an_arm_without_predictions_of_dev_is_tested_and_never_the_best(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        "tuneproof.record.as_good._is_missing", lambda run: run.predicted_N[0] == run.gold_N[0]
    )
    study = write_study(tmp_path, arm("a", 0.1, 0.1), arm("b", 0.0, 0.1), arm("c", 0.1, 0.1))
    assert study.comparisons["as_good"]["best"] == "a"
    assert entry(study, "b")["outcome"] in AS_GOOD


def test_every_arm_has_its_scores_on_dev_beside_those_on_test(tmp_path) -> None:
    study = write_study(tmp_path, arm("a", 0.1, 0.1, wrong_on_dev=0.2), arm("b", 0.3, 0.1))
    first = study.comparisons["arms"][0]
    assert (first["scores"]["accuracy"]["value"], first["scores"]["accuracy"]["n"]) == (0.9, 2000)
    assert (first["dev_scores"]["accuracy"]["value"], first["dev_scores"]["accuracy"]["n"]) == (0.8, 400)
    best = next(e for e in study.comparisons["arms"] if e["arm"] == study.comparisons["as_good"]["best"])
    assert best["dev_scores"]["accuracy"]["value"] == study.comparisons["as_good"]["dev_score"]


def test_an_arm_without_predictions_of_dev_has_no_scores_on_dev(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        "tuneproof.record.as_good._is_missing", lambda run: run.predicted_N[0] == run.gold_N[0]
    )
    study = write_study(tmp_path, arm("a", 0.1, 0.1), arm("b", 0.0, 0.1))
    assert [bool(entry["dev_scores"]) for entry in study.comparisons["arms"]] == [True, False]


def test_what_may_be_recommended_is_compared_on_test_with_every_arm_corrected_for_all(tmp_path) -> None:
    arms = arm("best", 0.1, 1.0), arm("twin", 0.1, 0.1), arm("left out", 0.4, 0.01), arm("far", 0.5, 0.01)
    pairs = write_study(tmp_path, *arms).comparisons["as_good"]["pairs"]
    assert [(pair["arm"], pair["over"]) for pair in pairs] == [
        *(("best", "twin"), ("best", "left out"), ("best", "far")),
        *(("twin", "best"), ("twin", "left out"), ("twin", "far")),
    ]
    assert {pair["claims"] for pair in pairs} == {5}, "a pair and its reverse are one hypothesis"
    assert [pair["outcome"] for pair in pairs[:3]] == ["cannot tell", "better", "better"]
    assert all(pair["p_adjusted"] >= pair["p_value"] for pair in pairs)
