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
