"""New texts are labelled as the test items were; input that cannot be is refused."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_models import tiny_model
from tuneproof.apply.labels import label_file, predict
from tuneproof.apply.new_file import NewFile
from tuneproof.errors import DataError, ModelError, RunError
from tuneproof.inference.prediction import read_predictions
from tuneproof.record.study_folder import read_items
from tuneproof.study.study import run

ARMS = ["lexical", "head", {"lora": {"epochs": 1, "rank": 2}}]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("label")
    tiny_model(root / "tiny", "llama")
    with open(root / "own.csv", "w", newline="", encoding="latin-1") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["review", "mood"])
        for number in range(40):
            mood = "good" if number % 2 else "bad"
            rows.writerow([f"the caf\xe9 number {number} was {mood}", mood])
    task = {
        "path": str(root / "own.csv"),
        "text": "review",
        "label": "mood",
        "encoding": "latin-1",
        "delimiter": ";",
    }
    recipe = {
        "task": {"labels": task},
        "models": [str(root / "tiny")],
        "arms": ARMS,
        "seeds": [0],
        "encode": {"max_length": 64},
        "out": str(root / "study"),
    }
    return run(recipe).folder


@pytest.mark.parametrize("arm", ["lexical", "tiny.head", "tiny.lora.seed0"])
def test_the_test_items_get_the_same_probabilities_again(study, arm):
    items = read_items(study, "test")
    again = predict(study / "arms" / arm, [f"  {text}\n" for text in items.texts])
    before = read_predictions(study / "arms" / arm / "predictions.parquet")
    assert list(before.ids) == items.ids
    np.testing.assert_allclose(again.probabilities_NC, before.probabilities_NC, atol=1e-5)


def test_it_works_from_the_arms_own_folder(study, monkeypatch):
    monkeypatch.chdir(study / "arms" / "tiny.head")
    assert len(predict(Path(), ["a good place"])) == 1


def test_an_empty_text_is_named_by_its_row(study):
    with pytest.raises(DataError, match="row 2, 3: the text is empty"):
        predict(study / "arms" / "lexical", ["good", " ", ""])


def test_another_base_model_is_refused(study):
    config = study.parent / "tiny" / "config.json"
    before = config.read_bytes()
    try:
        config.write_text(json.dumps({**json.loads(before), "rope_theta": 5.0}))
        with pytest.raises(ModelError, match="is not the model that head was made with"):
            predict(study / "arms" / "tiny.head", ["good"])
    finally:
        config.write_bytes(before)


def test_a_missing_base_model_is_named(study):
    folder = study.parent / "tiny"
    os.rename(folder, folder.with_name("elsewhere"))
    try:
        with pytest.raises(ModelError, match="the model of head no longer exists"):
            predict(study / "arms" / "tiny.head", ["good"])
    finally:
        os.rename(folder.with_name("elsewhere"), folder)


def test_an_arm_that_left_the_recipe_is_refused(study):
    recipe = study / "recipe.yaml"
    before = recipe.read_text()
    try:
        renamed = before.replace("- lexical:\n    name:\n", "- lexical:\n    name: words\n", 1)
        assert renamed != before
        recipe.write_text(renamed.replace("over: lexical", "over: words"))
        with pytest.raises(RunError, match="no longer has the arm lexical"):
            predict(study / "arms" / "lexical", ["good"])
    finally:
        recipe.write_text(before)


def test_a_file_is_read_as_the_studys_own_and_its_numbers_stay(study, tmp_path, capsys):
    with open(tmp_path / "new.csv", "w", newline="", encoding="latin-1") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["review", "delta", "note"])
        rows.writerow(["a good caf\xe9", "-3", "=1+1"])
    label_file(study / "arms" / "lexical", NewFile(str(tmp_path / "new.csv")), None, None)
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert row["review"] == "a good caf\xe9"
    assert row["delta"] == "-3"
    assert row["note"] == "'=1+1"
    assert row["predicted"] in ("bad", "good")


def test_a_column_of_our_own_names_is_not_overwritten(study, tmp_path):
    (tmp_path / "new.csv").write_text("review;predicted\na good place;yes\n")
    with pytest.raises(DataError, match="already has a column 'predicted'"):
        label_file(study / "arms" / "lexical", NewFile(str(tmp_path / "new.csv")), None, None)


def test_an_empty_cell_is_named_by_the_files_row(study, tmp_path):
    (tmp_path / "new.csv").write_text("review;note\na good place;x\n  ;y\n")
    with pytest.raises(DataError, match=r"new\.csv, row 3: the text is empty"):
        label_file(study / "arms" / "lexical", NewFile(str(tmp_path / "new.csv")), None, None)


def test_nan_is_no_text(study, tmp_path):
    (tmp_path / "new.jsonl").write_text('{"review": "good"}\n{"review": NaN}\n')
    with pytest.raises(DataError, match="2: the text is empty"):
        label_file(study / "arms" / "lexical", NewFile(str(tmp_path / "new.jsonl")), None, None)


def test_a_header_does_not_start_like_a_formula(study, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("review;=x\na good place;1\n")
    label_file(study / "arms" / "lexical", NewFile(str(tmp_path / "new.csv")), None, None)
    assert capsys.readouterr().out.startswith("review,'=x,predicted")


def test_a_column_named_like_a_probability_is_refused_before_anything_is_labelled(
    study, tmp_path, monkeypatch
):
    monkeypatch.setattr("tuneproof.apply.labels.predict", None)
    (tmp_path / "new.csv").write_text("review;p_good\na good place;1\n")
    with pytest.raises(DataError, match="already has a column 'p_good'"):
        label_file(study / "arms" / "lexical", NewFile(str(tmp_path / "new.csv")), None, None)


def test_a_file_may_have_another_delimiter_than_the_studys(study, tmp_path, capsys):
    path = tmp_path / "new.csv"
    path.write_text('review|note\nlovely; "good" place|x\n"half a quote|y\n')
    with pytest.raises(DataError, match=r'pass --delimiter "\|"'):
        label_file(study / "arms" / "lexical", NewFile(str(path), quotes=False, delimiter="\t"), None, None)
    label_file(study / "arms" / "lexical", NewFile(str(path), "|", quotes=False), None, None)
    assert len(list(csv.DictReader(capsys.readouterr().out.splitlines()))) == 2


def test_a_new_text_with_half_of_a_character_is_refused(study):
    with pytest.raises(DataError, match="row 2: a text holds half of a character"):
        predict(study / "arms" / "lexical", ["good", "bad \ud83d"])


def test_advice_for_new_files_names_options(study, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text('review;note\n"half;x\nmore;y\n')
    with pytest.raises(DataError, match="or pass --quotes false"):
        label_file(study / "arms" / "lexical", NewFile(str(path)), None, None)
    path.write_text('review;note\nfine;x\n"half;x\nmore";x\n')
    with pytest.raises(DataError, match="pass --quotes false; --quotes true says"):
        label_file(study / "arms" / "lexical", NewFile(str(path)), None, None)
