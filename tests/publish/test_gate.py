"""The gate: what is written says what the study's file says, whoever loads it; else nothing is sent."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.arms.small import small_recipe
from tests.publish import made
from tests.publish.made import ran
from tuneproof.atomic import MANIFEST, read_json, sha256_of_file
from tuneproof.cli.main import main
from tuneproof.errors import RecipeError, RunError
from tuneproof.publish import gate
from tuneproof.publish import publish as publishing
from tuneproof.publish.files import material_of, write_weights
from tuneproof.publish.load_code import load_lines, program
from tuneproof.publish.publish import publish
from tuneproof.record.study_folder import WEIGHTS

BASE = "someone/base"
FORMS = [
    ("decoder", "llama.head"),
    ("decoder", "llama.lora.seed0"),
    ("decoder", "llama.words.seed0"),
    ("encoder", "bert.head"),
    ("encoder", "bert.first"),
    ("encoder", "bert.lora.seed0"),
    ("questions", "bert.lora.seed0"),
]
WHOLE = [("decoder", "llama.full.seed0"), ("encoder", "bert.lp-ft.seed0"), ("questions", "bert.head")]


@pytest.mark.parametrize(("study", "arm"), FORMS)
@pytest.mark.parametrize("merged", [False, True])
def test_every_form_says_what_the_study_says(study, arm, merged, request, tmp_path, quick):
    arm = request.getfixturevalue(study) / "arms" / arm
    found = publish(arm, "me/it", tmp_path / "to", merged=merged, base=None if merged else BASE)
    assert found.passed.items >= 12
    assert found.passed.difference < 1e-4
    adapter = "lora" in arm.name or "words" in arm.name
    assert (found.passed.merged is not None) == adapter
    assert not adapter or found.passed.merged < 1e-4


@pytest.mark.parametrize(("study", "arm"), WHOLE)
def test_every_whole_model_says_what_the_study_says(study, arm, request, tmp_path, quick):
    found = publish(request.getfixturevalue(study) / "arms" / arm, "me/it", tmp_path / "to")
    assert found.passed.difference < 1e-4


def test_an_adapter_beside_a_packed_base_says_what_the_study_says(decoder, tmp_path, quick):
    found = publish(decoder / "arms" / "llama.qlora.seed0", "me/it", tmp_path / "to", base=BASE)
    assert found.passed.difference < 1e-4
    assert found.passed.merged is None
    assert "BitsAndBytesConfig(load_in_4bit=True" in (tmp_path / "to" / "README.md").read_text()


@pytest.mark.parametrize(("study", "arm"), [*FORMS, *WHOLE])
def test_five_lines_load_it(study, arm, request):
    arm = request.getfixturevalue(study) / "arms" / arm
    material = material_of(arm, False, BASE)
    lines = load_lines(material.it, "me/it")
    assert len(lines) <= 5
    assert "tuneproof" not in program(material.it, "me/it")


def changed(file: Path) -> None:
    """One tensor of the file another."""
    tensors = load_file(file)
    name = sorted(tensors)[-1]
    tensors[name] = np.ascontiguousarray(-2 * tensors[name] + 1)
    save_file(tensors, file, metadata={"format": "pt"})


def test_a_save_with_one_tensor_changed_is_caught_in_a_fresh_process(decoder, tmp_path, monkeypatch):
    write = publishing.write_weights

    def corrupted(material, folder):
        it = write(material, folder)
        changed(folder / "model.safetensors")
        return it

    monkeypatch.setattr(publishing, "write_weights", corrupted)
    with pytest.raises(RunError, match=r"does not reproduce the study: .* sampled test items"):
        publish(decoder / "arms" / "llama.full.seed0", "me/it", tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("arm", ["llama.full.seed0", "llama.lora.seed0", "llama.head"])
def test_one_weight_of_any_tensor_is_caught(arm, decoder, tmp_path, monkeypatch):
    material = material_of(decoder / "arms" / arm, False, BASE)
    it = write_weights(material, tmp_path)
    told = made.ask_here(it.at(material.base_folder), str(tmp_path), gate.take_sample(material))
    monkeypatch.setattr(gate, "ask", lambda *_, **__: told)  # as if no prediction had moved
    gate.pass_gate(material, it, tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    whole = load_file(file)
    assert whole
    for name, tensor in whole.items():
        other = tensor.copy()
        other.reshape(-1)[0] += 1
        save_file({**whole, name: other}, file, metadata={"format": "pt"})
        with pytest.raises(RunError, match=f"{file.name} is not the file that the arm saved"):
            gate.pass_gate(material, it, tmp_path)


def test_weights_changed_with_their_checksum_are_caught(decoder, tmp_path, quick):
    study = shutil.copytree(decoder, tmp_path / "study")
    weights = study / "arms" / "llama.full.seed0" / WEIGHTS
    changed(weights / "model.safetensors")
    with pytest.raises(RunError, match="checksum differs"):
        publish(weights.parent, "me/it", tmp_path / "to")
    sums = read_json(weights / MANIFEST)
    sums["model.safetensors"] = sha256_of_file(weights / "model.safetensors")
    (weights / MANIFEST).write_text(json.dumps(sums))
    with pytest.raises(RunError, match="does not reproduce the study"):
        publish(weights.parent, "me/it", tmp_path / "to")


def test_an_adapter_is_loaded_in_a_fresh_process_and_merged_there(decoder, tmp_path):
    found = publish(decoder / "arms" / "llama.lora.seed0", "me/it", tmp_path / "to", base=BASE)
    assert found.passed.difference < 1e-4
    assert found.passed.merged is not None


def test_a_folder_that_cannot_be_loaded_says_so(decoder, tmp_path):
    material = material_of(decoder / "arms" / "llama.full.seed0", False, None)
    with pytest.raises(RunError, match="cannot be loaded and asked in a fresh process"):
        gate.pass_gate(material, material.it, tmp_path)


def test_the_fresh_process_has_no_token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    monkeypatch.setenv("MY_API_KEY", "y" * 20)
    environment = gate._environment()
    assert not {"HF_TOKEN", "MY_API_KEY"} & set(environment)
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_labels_that_the_study_holds_equal_may_change_places(decoder):
    material = material_of(decoder / "arms" / "llama.full.seed0", False, None)
    told = gate.take_sample(material).told.take([0])
    told.probabilities_NC[0] = [0.5001, 0.4999]
    told.predicted_N[0] = 0
    assert gate.compare(told, [[0.4999, 0.5001]], 1e-3, "it") == pytest.approx(2e-4)
    told.probabilities_NC[0] = [0.6, 0.4]
    with pytest.raises(RunError, match="1 of 1 sampled"):
        gate.compare(told, [[0.4, 0.6]], 1e-3, "it")
    with pytest.raises(RunError, match="differ by up to nan"):
        gate.compare(told, [[float("nan"), 0.4]], 1e-3, "it")
    with pytest.raises(RunError, match="3 labels and the study 2"):
        gate.compare(told, [[0.4, 0.3, 0.3]], 1e-3, "it")


@pytest.mark.parametrize(
    ("arm", "words", "sentence"),
    [
        ("majority", [], "majority has no weights of its own: there is nothing to publish."),
        ("llama.qlora.seed0", ["--merged"], "merged into whole weights it would be another model"),
        ("llama.full.seed0", ["--merged"], "full is a whole model already."),
        ("llama.lora.seed0", [], "Add --merged, so that the base is in it, or --base OWNER/NAME"),
        ("llama.lora.seed0", ["--base", "nowhere"], "nowhere: is not a name of a repository."),
    ],
)
def test_what_cannot_be_published_says_why(arm, words, sentence, decoder, tmp_path, capsys):
    folder = str(decoder / "arms" / arm)
    assert main(["publish", folder, "me/it", "--to", str(tmp_path / "to"), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_decoder_that_answers_questions_is_refused(questions):
    material = material_of(questions / "arms" / "bert.head", False, None)
    from tuneproof.publish.files import _asks

    with pytest.raises(RecipeError, match="encoders with a head over spans"):
        _asks("arm", "words", "questions", material.ready)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm-l6", "stories260k"])
def test_real_models_say_what_the_study_says_in_a_fresh_process(name, tmp_path):
    model = Path(__file__).parents[3] / "shared" / "models" / name
    if not model.is_dir():
        pytest.skip(f"{name} is not beside the project")
    study = ran(small_recipe(tmp_path, [model], ["majority", "head", "lora"], train={"epochs": 1}))
    for arm in (f"{name}.head", f"{name}.lora.seed0"):
        found = publish(study / "arms" / arm, "me/it", tmp_path / arm, merged=True)
        assert found.passed.difference < 1e-4
