"""An export is written where its predictions are the arm's, or are shown to be as good; else nothing is."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.monitoring import run_recorded
from tests.publish import made
from tuneproof.cli.main import main
from tuneproof.errors import RecipeError, RunError
from tuneproof.inference.prediction import read_predictions
from tuneproof.methods.exported_model import read_exported
from tuneproof.publish import export_arm as export_room
from tuneproof.publish import export_files, gguf_file
from tuneproof.publish.export_arm import export_arm
from tuneproof.publish.export_files import ExportOptions
from tuneproof.recipe.recipe import read_recipe
from tuneproof.record.study_folder import read_study

FLOAT, INT8 = ExportOptions("onnx"), ExportOptions("onnx", "int8", margin=100)


@pytest.mark.parametrize(
    ("study", "arm"),
    [
        pytest.param("encoder", "bert.lora.seed0", marks=pytest.mark.slow),
        pytest.param("encoder", "bert.embeddings", marks=pytest.mark.slow),
        ("encoder", "bert.head"),
        pytest.param("encoder", "bert.first", marks=pytest.mark.slow),
        pytest.param("decoder", "llama.head", marks=pytest.mark.slow),
        pytest.param("decoder", "llama.full.seed0", marks=pytest.mark.slow),
        pytest.param("decoder", "llama.words.seed0", marks=pytest.mark.slow),
        pytest.param("questions", "bert.lora.seed0", marks=pytest.mark.slow),
    ],
)
def test_onnx_predicts_every_test_item_as_the_arm_does(study, arm, request, tmp_path):
    folder = request.getfixturevalue(study) / "arms" / arm
    result = export_arm(folder, FLOAT, tmp_path / "to")
    assert result.parity.equal == result.parity.items == len(read_predictions(folder / "predictions.parquet"))
    assert result.parity.difference < 1e-4
    assert result.single_s > 0
    assert read_exported(result.folder).format == "onnx"
    assert not (result.folder / "plain").exists()


@pytest.mark.parametrize("precision", [pytest.param("int8", marks=pytest.mark.slow), "int8-blocks"])
def test_eight_bits_lose_some_and_are_judged_by_the_margin(precision, decoder, tmp_path):
    folder = decoder / "arms" / "llama.full.seed0"
    result = export_arm(folder, replace(INT8, precision=precision), tmp_path / "to")
    assert 1e-5 < result.parity.difference < 0.5, "some bits are lost"
    assert "as good within 100 points" in result.sentence
    assert sorted(path.name for path in result.folder.glob("*.onnx*")) == ["model.onnx"]


def test_a_whole_model_is_written_and_compared_on_every_test_item(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(export_files, "predict_in_fresh_process", made.predict_here)
    result = export_arm(encoder / "arms" / "bert.lora.seed0", ExportOptions("merged"), tmp_path / "to")
    assert result.parity.equal == result.parity.items
    assert (tmp_path / "to" / "model.safetensors").is_file()


@pytest.fixture(scope="module")
def exported(encoder, tmp_path_factory):
    return export_arm(
        encoder / "arms" / "bert.lora.seed0", FLOAT, tmp_path_factory.mktemp("onnx") / "to"
    ).folder


def test_an_export_is_an_arm_of_a_study(encoder, exported, tmp_path):
    arms = f"arms=[majority, lora, {{exported: {{folder: '{exported}'}}}}]"
    recipe = read_recipe(encoder / "recipe.yaml", [arms, f"out={tmp_path / 'study'}", "predict.timing_s=0.2"])
    run_recorded(recipe)
    study = read_study(tmp_path / "study")
    arm, source = (next(a for a in study.arms if a.about["method"] == name) for name in ("exported", "lora"))
    own, other = (read_predictions(a.folder / "predictions.parquet") for a in (arm, source))
    np.testing.assert_allclose(own.probabilities_NC, other.probabilities_NC, atol=1e-3)
    assert arm.about["serving"]["latency_s"]["p50"] > 0
    assert arm.about["chosen"]["origin"]["labels"] == sum(
        study.splits["sizes"][part] for part in ("train", "dev")
    )


def test_the_cards_code_predicts_in_the_folder(exported):
    card = (exported / "README.md").read_text("utf-8")
    code = card.split("```python\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=exported, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "negative" in done.stdout


def test_a_changed_file_is_no_exported_model(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "copy")
    data = bytearray((folder / "model.onnx").read_bytes())
    data[-1] ^= 1
    (folder / "model.onnx").write_bytes(data)
    with pytest.raises(RunError, match=r"model\.onnx: has changed"):
        read_exported(folder)
    with pytest.raises(RunError, match="evaluate it with the method tuned-model"):
        read_exported(_whole_model(tmp_path))


def _whole_model(folder):
    (folder / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (FLOAT, "does not reproduce the arm: numbers differ by up to"),
        (replace(INT8, margin=0.01), r"is not shown to be as good as the arm: .* within 0\.01 points"),
    ],
)
def test_another_models_predictions_are_refused(options, sentence, encoder, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(export_files, "_convert", lambda *_: read_exported(exported))
    monkeypatch.setattr(
        export_files,
        "run_exported",
        lambda model, folder, examples, *_: {
            "predictions": [[0.2, 0.3, 0.5]] * len(examples),
            "single_s": [],
        },
    )
    with pytest.raises(RunError, match=sentence):
        export_arm(encoder / "arms" / "bert.head", options, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_another_answer_of_the_same_score_is_refused(questions, exported, tmp_path, monkeypatch):
    arm = questions / "arms" / "bert.lora.seed0"
    expected = read_predictions(arm / "predictions.parquet").with_threshold(1e9)  # every question is answered
    for room in (export_files, export_room):
        monkeypatch.setattr(room, "read_predictions", lambda path: expected)
    outputs = [[answer, null] for answer, null in zip(expected.answers, expected.null_N, strict=True)]
    outputs[0][0] += " and more"
    monkeypatch.setattr(export_files, "_convert", lambda *_: read_exported(exported))
    result = {"predictions": outputs, "single_s": []}
    monkeypatch.setattr(export_files, "run_exported", lambda *_: result)
    with pytest.raises(RunError, match=r"1 of .* test items get another prediction"):
        export_arm(arm, FLOAT, tmp_path / "to")


@pytest.mark.parametrize(
    ("arm", "options", "sentence"),
    [
        (
            "llama.full.seed0",
            ["--format", "tflite"],
            "--format: 'tflite' is unknown. Allowed: merged, onnx, gguf",
        ),
        (
            "llama.full.seed0",
            ["--format", "onnx", "--precision", "q8_0"],
            "Allowed: float32, int8, int8-blocks",
        ),
        ("llama.full.seed0", ["--format", "onnx", "--margin", "0"], "Allowed: points, above 0 to 100"),
        ("llama.qlora.seed0", ["--format", "onnx"], "quantised to 4 bits"),
        ("majority", ["--format", "onnx"], "is a baseline"),
    ],
)
def test_what_cannot_be_exported_gets_a_reason(arm, options, sentence, decoder, tmp_path, capsys):
    assert main(["export", str(decoder / "arms" / arm), *options, "--to", str(tmp_path / "to")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


def test_a_head_is_no_gguf(decoder, tmp_path, monkeypatch):
    monkeypatch.setattr(export_room, "check_runtime", lambda format: None)
    with pytest.raises(RecipeError, match="predicts by a head"):
        export_arm(decoder / "arms" / "llama.full.seed0", ExportOptions("gguf"), tmp_path / "to")


def test_gguf_names_the_converter_that_it_needs(tmp_path, monkeypatch):
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    with pytest.raises(RecipeError, match=r"Clone https://github\.com/ggml-org/llama\.cpp"):
        gguf_file.find_converter(None)
    with pytest.raises(RecipeError, match=r"holds no convert_hf_to_gguf\.py"):
        gguf_file.find_converter(str(tmp_path))


def test_a_converter_that_fails_is_quoted_without_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    converter = tmp_path / "convert_hf_to_gguf.py"
    converter.write_text(
        "import os, sys\nsys.exit('Model X is not supported ' + os.environ.get('HF_TOKEN', ''))"
    )
    with pytest.raises(RecipeError, match=r"Model X is not supported\s*\.") as error:
        gguf_file.write_gguf(tmp_path, tmp_path, "f16", converter)
    assert "xxx" not in str(error.value)


def test_without_the_runtime_the_error_says_what_to_install(decoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["export", str(decoder / "arms" / "llama.full.seed0"), "--format", "onnx"]) == 2
    assert "pip install" in capsys.readouterr().err


def test_json_says_where_it_is_and_what_was_compared(encoder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export_files, "predict_in_fresh_process", made.predict_here)
    words = ["export", str(encoder / "arms" / "bert.head"), "--format", "merged", "--json"]
    assert main([*words, "--to", str(tmp_path / "to")]) == 0
    values = json.loads(capsys.readouterr().out)
    assert Path(values["folder"]).is_dir()
    assert values["parity"]["equal"] == values["parity"]["items"]
    assert main([*words, "--to", str(tmp_path / "to")]) == 2
    assert "already exists" in capsys.readouterr().out
