"""The table before → after: which arms stand in it, what is tested, and the positive class."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.report.made_study import predictions, write_study
from tests.score.answered import answered
from tuneproof.inference.prediction import Predictions, write_predictions
from tuneproof.record.study_folder import StudyRecord, read_study
from tuneproof.report.before_after import BeforeAfter, before_after_tables
from tuneproof.report.page import render
from tuneproof.report.slices import ArmPredictions, read_arm_predictions
from tuneproof.report.tables import ArmRow, Score, headline, metric_title, pooled_rows, positive_label


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


def tables_of(folder: Path) -> list[BeforeAfter]:
    study = read_study(folder)
    return before_after_tables(study, read_arm_predictions(pooled_rows(study)))


def change_comparisons(folder: Path, claims: bool = True, **values: object) -> None:
    path = folder / "comparisons.json"
    compared = json.loads(path.read_text("utf-8")) | values
    for pair in compared["comparisons"]:
        pair["claim"] = claims and pair["claim"]
    path.write_text(json.dumps(compared))


def test_the_pretrained_model_stands_before_the_arm_of_the_claim(folder: Path) -> None:
    (table,) = tables_of(folder)
    assert table.model == "minilm"
    assert table.notes[0] == "Before: zero-shot, the pretrained model without training or examples."
    assert table.notes[1] == "After: full, trained. The claim names it."
    assert [row.arm for row in table.arms] == ["zero-shot", "full", "majority", "lexical", "head"]
    names = [line.full_title for line in table.lines]
    assert names[:2] == ["Accuracy,\u00a0%", "Precision (positive class: positive),\u00a0%"]
    assert "Recall (other class: negative),\u00a0%" in names
    assert names[-4:] == ["Parameters", "Trained parameters", "Training time", "Peak memory"]
    trained = table.lines[-3]
    assert trained.values[:2] == (0, 22_713_986)
    assert trained.cells[1] == ("22,713,986", "(100 %)")


def test_recall_of_a_class_is_the_mean_over_the_seeds(folder: Path) -> None:
    (table,) = tables_of(folder)
    (line,) = [line for line in table.lines if (line.key, line.label) == ("recall", "negative")]
    study = read_study(folder)
    (full,) = [arm for arm in read_arm_predictions(pooled_rows(study)) if arm.row.arm == "full"]
    recalls = [(run.predicted_N[run.gold_N == 0] == 0).mean() for run in full.runs]
    assert len(recalls) == 2
    assert line.values[1] == pytest.approx(np.mean(recalls))


def test_only_a_difference_that_the_study_tested_has_an_interval(folder: Path, tmp_path: Path) -> None:
    tested = shutil.copytree(folder, tmp_path / "tested")
    pairs = json.loads((tested / "comparisons.json").read_text("utf-8"))["comparisons"]
    made = {**pairs[0], "over": "zero-shot", "claim": False, "difference": 0.3, "low": 0.2, "high": 0.4}
    change_comparisons(tested, comparisons=[*pairs, {**made, "outcome": "better"}])
    (table,) = tables_of(tested)
    accuracy, *others = table.lines
    assert (accuracy.difference, accuracy.difference_cell) == (0.3, ("+30", "[+20, +40]"))
    assert (accuracy.pair or {})["outcome"] == "better"
    assert all(line.pair is None and not line.difference_cell[1] for line in others)
    row = table.as_json()["rows"][0]
    assert (row["name"], row["low"], row["high"]) == ("accuracy", 0.2, 0.4)
    (untested,) = tables_of(folder)
    assert untested.lines[0].pair is None


def test_dev_chooses_the_trained_arm_where_the_claim_does_not(folder: Path, tmp_path: Path) -> None:
    unclaimed = shutil.copytree(folder, tmp_path / "unclaimed")
    change_comparisons(unclaimed, claims=False)
    (table,) = tables_of(unclaimed)
    assert table.notes[1] == "After: head, trained. It is the first of head, lora and full."
    skills = {"head": 0.95, "lora": 0.6, "full": 0.7}  # on test full is best, on dev head
    for path in (unclaimed / "arms").iterdir():
        skill = next((skill for name, skill in skills.items() if f".{name}" in path.name), 0.5)
        write_predictions(path / "dev_predictions.parquet", predictions(80, skill, 3, 0, False), {})
    (table,) = tables_of(unclaimed)
    assert table.notes[1] == "After: head, trained. Of head, lora and full it is the best by accuracy on dev."


def without_arms(folder: Path, path: Path, *names: str) -> Path:
    bare = Path(shutil.copytree(folder, path))
    for arm in (bare / "arms").iterdir():
        if any(name in arm.name for name in names):
            shutil.rmtree(arm)
    return bare


def test_without_a_prompt_a_head_on_the_frozen_model_stands_before(folder: Path, tmp_path: Path) -> None:
    (table,) = tables_of(without_arms(folder, tmp_path / "bare", "shot"))
    assert table.notes[0] == (
        "Before: head, a linear head on the features of the pretrained model, whose own weights are not "
        "trained. The claim names it."
    )
    assert (table.first, table.title) == ("before", "Before → after: minilm")
    assert table.arms[1].arm == "full", "whose own weights are trained"


def test_a_baseline_in_the_place_of_before_is_called_so(folder: Path, tmp_path: Path) -> None:
    bare = without_arms(folder, tmp_path / "bare", "shot", "head")
    (table,) = tables_of(bare)
    reason = "Baseline: majority, which does not use this model, because no arm uses it without training"
    assert table.notes[0].startswith(reason)
    assert table.title == "Baseline → after: minilm"
    reports = render(bare)
    assert "baseline: majority | after: full" in reports.markdown.read_text("utf-8")
    assert "before: " not in reports.markdown.read_text("utf-8")
    assert '<span class="role">baseline</span>majority' in reports.html.read_text("utf-8")
    assert tables_of(without_arms(bare, tmp_path / "barer", "majority", "lexical")) == []


def test_a_head_alone_has_a_baseline_and_not_itself_before(folder: Path, tmp_path: Path) -> None:
    (table,) = tables_of(without_arms(folder, tmp_path / "bare", "shot", "lora", "full"))
    assert [row.arm for row in table.arms] == ["majority", "head", "lexical"]
    assert table.first == "baseline"


def test_the_positive_class_is_named_wherever_its_metrics_stand(folder: Path, tmp_path: Path) -> None:
    claimed = shutil.copytree(folder, tmp_path / "claimed")
    pairs = json.loads((claimed / "comparisons.json").read_text("utf-8"))["comparisons"]
    change_comparisons(claimed, comparisons=[{**pair, "metric": "f1"} for pair in pairs])
    study = read_study(claimed)
    assert positive_label(study) == "positive"
    assert headline(study).endswith("The positive class is positive.")
    reports = render(claimed)
    html, text = reports.html.read_text("utf-8"), reports.markdown.read_text("utf-8")
    assert json.loads(reports.json.read_text("utf-8"))["positive_label"] == "positive"
    assert "last label" not in html + text
    assert html.count("F1 (positive class: positive)") > 5
    assert "Positive class: positive (60 items)" in html
    assert metric_title("f1_macro", "positive") == "Macro F1"


def _row(arm: str, kind: str, scores: dict[str, Score]) -> ArmRow:
    model = None if kind == "baseline" else "tiny"
    return ArmRow(arm, model, arm, kind, (), "done", "", scores, 10, 5, 2.0, 2**20, None)


def _study(tmp_path: Path, labels: dict[str, int]) -> StudyRecord:
    return StudyRecord(tmp_path, "", {}, {"labels": {"test": labels}}, {}, [], {})


def _arm(row: ArmRow, run: Predictions) -> ArmPredictions:
    run_with_record = replace(row, records=_records())
    return ArmPredictions(0, run_with_record, (None,), (run,), (None,))


def _records() -> tuple[object, ...]:
    from tuneproof.record.study_folder import ArmRecord

    return (ArmRecord(Path("."), {"arm": "a", "status": "done"}),)


def test_of_many_labels_every_class_has_its_recall_and_precision(tmp_path: Path) -> None:
    labels = ("desc", "human", "place")
    run = Predictions(
        labels=labels,
        ids=list("abcd"),
        groups=list("abcd"),
        gold_N=np.array([0, 0, 1, 2]),
        predicted_N=np.array([0, 1, 1, 1]),
        tokens_N=np.ones(4, dtype=np.int64),
        truncated_N=np.zeros(4, dtype=bool),
        probabilities_NC=None,
    )
    scores = {
        name: Score(0.5, 0.3, 0.7, 4) for name in ("accuracy", "precision_macro", "recall_macro", "f1_macro")
    }
    arms = [_arm(_row(arm, kind, scores), run) for arm, kind in (("zero", "prompt"), ("lora", "tuned"))]
    (table,) = before_after_tables(_study(tmp_path, dict.fromkeys(labels, 1)), arms)
    groups = dict(table.groups)
    assert list(groups) == ["All test items", "Recall of each class", "Precision of each class", "Cost"]
    assert [line.values[0] for line in groups["Recall of each class"]] == [0.5, 1.0, 0.0]
    precisions = [line.values[0] for line in groups["Precision of each class"]]
    assert precisions == pytest.approx([1.0, 1 / 3, 0.0])
    assert groups["Recall of each class"][0].title == "desc (2 items),\u00a0%"


def test_of_questions_answerable_and_unanswerable_stand_apart(tmp_path: Path) -> None:
    names = ("squad_f1", "squad_exact", "squad_f1_has_answer", "squad_no_answer", "bleu_has_answer")
    scores = {name: Score(0.5, 0.3, 0.7, 4) for name in names}
    run = answered(["1066", None], ["1066", ""])
    arms = [_arm(_row(arm, kind, scores), run) for arm, kind in (("zero", "prompt"), ("lora", "tuned"))]
    study = _study(tmp_path, {"answerable": 1, "unanswerable": 1})
    (table,) = before_after_tables(study, arms)
    groups = {heading: [line.key for line in lines] for heading, lines in table.groups}
    assert groups["All questions: 4"] == ["squad_f1", "squad_exact"]
    assert groups["Answerable questions (HasAns): 4"] == ["squad_f1_has_answer", "bleu_has_answer"]
    assert groups["Unanswerable questions (NoAns): 4"] == ["squad_no_answer"]
