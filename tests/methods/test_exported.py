"""An exported model as an arm: checked before it runs, refused where it cannot predict the items."""

import json

import numpy as np
import pytest

from tuneproof.atomic import atomic_folder, write_in_folder
from tuneproof.errors import RecipeError, RunError
from tuneproof.methods import exported
from tuneproof.methods.exported import EXPORTED, ExportedOptions
from tuneproof.methods.exported_model import EXPORT, read_origin
from tuneproof.methods.system import SystemRequest
from tuneproof.tasks.task import Example, Prompt

MODEL = {
    "format": "onnx",
    "precision": "int8",
    "objective": "labels",
    "labels": ["positive", "negative"],
    "max_length": 16,
}
ORIGIN = {"arm": "lora", "model": "m", "training_s": 12.5, "labels": 80}
REQUEST = SystemRequest(
    [Example("a", "A fine film.", 0, "a"), Example("b", "A bad one.", 1, "b")],
    ("negative", "positive"),
    Prompt("Judge.", "Text: {text}", ("negative", "positive"), "", ()),
)


def folder_with(path, model=MODEL, origin=ORIGIN):
    with atomic_folder(path) as inside:
        write_in_folder(inside / "model.onnx", lambda file: file.write_bytes(b"graph"))
        text = json.dumps({"model": model, "origin": origin})
        write_in_folder(inside / EXPORT, lambda file: file.write_text(text))
    return ExportedOptions(folder=str(path))


def test_columns_come_in_the_studys_order_and_the_origin_goes_along(tmp_path, monkeypatch):
    values = {"predictions": [[0.1, 0.9], [0.8, 0.2]], "single_s": [0.1] * 5, "group_s": [0.2]}
    monkeypatch.setattr(exported, "run_program", lambda program, request: values)
    replies = EXPORTED.reply(folder_with(tmp_path / "it"), REQUEST)
    np.testing.assert_array_equal(replies.probabilities_NC, [[0.9, 0.1], [0.2, 0.8]])
    assert replies.about["origin"] == ORIGIN
    assert replies.about["size_bytes"] > 0
    assert replies.texts == ["", ""]


@pytest.mark.parametrize("values", [[[0.5, 0.5]], [[0.5, 0.5], [float("nan"), 0.5]]])
def test_missing_predictions_and_numbers_that_are_not_finite_are_refused(values, tmp_path, monkeypatch):
    result = {"predictions": values, "single_s": [], "group_s": []}
    monkeypatch.setattr(exported, "run_program", lambda program, request: result)
    with pytest.raises(RunError, match="predictions for 2 items, or one that is not finite"):
        EXPORTED.reply(folder_with(tmp_path / "it"), REQUEST)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"labels": ["good", "bad"]}, "gives the labels good, bad; the study's are negative, positive"),
        ({"format": "tflite"}, "does not describe an exported model"),
        ({"max_length": 10**12}, "does not describe an exported model"),
        ({"code": "import os"}, "does not describe an exported model"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_runs(change, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr(exported, "run_program", lambda *_: pytest.fail("it ran"))
    with pytest.raises(RunError, match=sentence):
        EXPORTED.announce(folder_with(tmp_path / "it", {**MODEL, **change}), REQUEST)


def test_texts_of_the_settings_are_data_in_the_program(tmp_path, monkeypatch):
    programs = []
    values = {"predictions": [[0.1, 0.9], [0.8, 0.2]], "single_s": [], "group_s": [0.2]}
    monkeypatch.setattr(exported, "run_program", lambda program, request: programs.append(program) or values)
    hostile = "'\n__import__('os').abort()\n'"
    words = {"objective": "words", "before": hostile, "words": [hostile, "b"]}
    EXPORTED.reply(folder_with(tmp_path / "it", {**MODEL, **words}), REQUEST)
    compile(programs[0], "program", "exec")
    assert "\n__import__" not in programs[0]


def test_the_result_depends_on_the_files(tmp_path):
    options = folder_with(tmp_path / "it")
    before = EXPORTED.inputs(options)
    other = folder_with(tmp_path / "other", {**MODEL, "precision": "float32"})
    assert set(EXPORTED.inputs(other).values()) != set(before.values())
    (tmp_path / "it" / "model.onnx").write_bytes(b"other")
    with pytest.raises(RunError, match="has changed"):
        EXPORTED.inputs(options)


@pytest.mark.parametrize("origin", [None, [], {"training_s": "x", "labels": -1}, {"training_s": True}])
def test_an_origin_that_is_no_number_is_not_read(origin, tmp_path):
    folder_with(tmp_path / "it", origin=origin)
    assert {"training_s", "labels"} & set(read_origin(tmp_path / "it")) == set()


def test_a_missing_runtime_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match="pip install onnxruntime tokenizers"):
        EXPORTED.announce(folder_with(tmp_path / "it"), REQUEST)
