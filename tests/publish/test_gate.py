"""The gate: written files reproduce the study's predictions, whoever loads them; else no upload."""

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
from tuneproof.publish import publish_arm as publishing
from tuneproof.publish.files import _objective, prepare_publication, write_weights
from tuneproof.publish.load_code import loading_lines, make_program
from tuneproof.publish.publish_arm import publish_arm
from tuneproof.recipe.recipe import arm_from
from tuneproof.record.study_folder import WEIGHTS

BASE = "someone/base"
FORMS = [
    ("decoder", "llama.head"),
    ("decoder", "llama.lora.seed0"),
    ("decoder", "llama.words.seed0"),
    ("encoder", "bert.head"),
    ("encoder", "bert.first"),
    ("encoder", "bert.embeddings"),
    ("encoder", "bert.lora.seed0"),
    ("questions", "bert.lora.seed0"),
]
WHOLE = [("decoder", "llama.full.seed0"), ("encoder", "bert.lp-ft.seed0"), ("questions", "bert.head")]


@pytest.mark.parametrize(("study", "arm"), FORMS)
@pytest.mark.parametrize("merged", [False, True])
def test_every_form_reproduces_the_study(study, arm, merged, request, tmp_path, quick):
    arm = request.getfixturevalue(study) / "arms" / arm
    result = publish_arm(arm, "me/it", tmp_path / "to", merged=merged, base=None if merged else BASE)
    assert result.gate.items >= 12
    assert result.gate.difference < 1e-4
    adapter = "lora" in arm.name or "words" in arm.name
    assert (result.gate.merged is not None) == adapter
    assert not adapter or result.gate.merged < 1e-4


@pytest.mark.parametrize(("study", "arm"), WHOLE)
def test_every_whole_model_reproduces_the_study(study, arm, request, tmp_path, quick):
    result = publish_arm(request.getfixturevalue(study) / "arms" / arm, "me/it", tmp_path / "to")
    assert result.gate.difference < 1e-4


def test_an_adapter_beside_a_quantised_base_reproduces_the_study(decoder, tmp_path, quick):
    result = publish_arm(decoder / "arms" / "llama.qlora.seed0", "me/it", tmp_path / "to", base=BASE)
    assert result.gate.difference < 1e-4
    assert result.gate.merged is None
    assert "BitsAndBytesConfig(load_in_4bit=True" in (tmp_path / "to" / "README.md").read_text()


@pytest.mark.parametrize(("study", "arm"), [*FORMS, *WHOLE])
def test_five_lines_load_it(study, arm, request):
    arm = request.getfixturevalue(study) / "arms" / arm
    publication = prepare_publication(arm, False, BASE)
    lines = loading_lines(publication.load_spec, "me/it")
    assert len(lines) <= 5
    assert "tuneproof" not in make_program(publication.load_spec, "me/it")


def change_tensor(file: Path) -> None:
    """Change one tensor of the file."""
    tensors = load_file(file)
    name = sorted(tensors)[-1]
    tensors[name] = np.ascontiguousarray(-2 * tensors[name] + 1)
    save_file(tensors, file, metadata={"format": "pt"})


def test_a_save_with_one_tensor_changed_is_caught_in_a_fresh_process(decoder, tmp_path, monkeypatch):
    write = publishing.write_weights

    def corrupted(publication, folder):
        load_spec = write(publication, folder)
        change_tensor(folder / "model.safetensors")
        return load_spec

    monkeypatch.setattr(publishing, "write_weights", corrupted)
    with pytest.raises(RunError, match=r"do not reproduce the study: .* sampled test items"):
        publish_arm(decoder / "arms" / "llama.full.seed0", "me/it", tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("arm", ["llama.full.seed0", "llama.lora.seed0", "llama.head"])
def test_one_weight_of_any_tensor_is_caught(arm, decoder, tmp_path, monkeypatch):
    publication = prepare_publication(decoder / "arms" / arm, False, BASE)
    load_spec = write_weights(publication, tmp_path)
    local_spec = load_spec.with_base(publication.base_folder)
    outputs = made.predict_here(local_spec, str(tmp_path), gate.take_sample(publication))
    # as if no prediction had changed
    monkeypatch.setattr(gate, "predict_in_fresh_process", lambda *_, **__: outputs)
    gate.run_gate(publication, load_spec, tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    tensors = load_file(file)
    assert tensors
    for name, tensor in tensors.items():
        changed_tensor = tensor.copy()
        changed_tensor.reshape(-1)[0] += 1
        save_file({**tensors, name: changed_tensor}, file, metadata={"format": "pt"})
        with pytest.raises(RunError, match=f"{file.name} is not the file that the arm saved"):
            gate.run_gate(publication, load_spec, tmp_path)


def test_weights_changed_with_their_checksum_are_caught(decoder, tmp_path, quick):
    study = shutil.copytree(decoder, tmp_path / "study")
    weights = study / "arms" / "llama.full.seed0" / WEIGHTS
    change_tensor(weights / "model.safetensors")
    with pytest.raises(RunError, match="checksum differs"):
        publish_arm(weights.parent, "me/it", tmp_path / "to")
    sums = read_json(weights / MANIFEST)
    sums["model.safetensors"] = sha256_of_file(weights / "model.safetensors")
    (weights / MANIFEST).write_text(json.dumps(sums))
    with pytest.raises(RunError, match="do not reproduce the study"):
        publish_arm(weights.parent, "me/it", tmp_path / "to")


def test_an_adapter_is_loaded_in_a_fresh_process_and_merged_there(decoder, tmp_path):
    result = publish_arm(decoder / "arms" / "llama.lora.seed0", "me/it", tmp_path / "to", base=BASE)
    assert result.gate.difference < 1e-4
    assert result.gate.merged is not None


def test_a_folder_that_cannot_be_loaded_is_refused(decoder, tmp_path):
    publication = prepare_publication(decoder / "arms" / "llama.full.seed0", False, None)
    with pytest.raises(RunError, match="a fresh process cannot load it and predict"):
        gate.run_gate(publication, publication.load_spec, tmp_path)


def test_labels_of_equal_probability_may_be_swapped(decoder):
    publication = prepare_publication(decoder / "arms" / "llama.full.seed0", False, None)
    expected = gate.take_sample(publication).expected.take([0])
    expected.probabilities_NC[0] = [0.5001, 0.4999]
    expected.predicted_N[0] = 0
    assert gate.compare(expected, [[0.4999, 0.5001]], 1e-3, "it") == pytest.approx(2e-4)
    expected.probabilities_NC[0] = [0.6, 0.4]
    with pytest.raises(RunError, match="1 of 1 sampled"):
        gate.compare(expected, [[0.4, 0.6]], 1e-3, "it")
    with pytest.raises(RunError, match="differ by up to nan"):
        gate.compare(expected, [[float("nan"), 0.4]], 1e-3, "it")
    with pytest.raises(RunError, match="3 labels and the study 2"):
        gate.compare(expected, [[0.4, 0.3, 0.3]], 1e-3, "it")


@pytest.mark.parametrize(
    ("arm", "options", "sentence"),
    [
        ("llama.qlora.seed0", ["--merged"], "merged into full weights it would be a different model"),
        ("llama.full.seed0", ["--merged"], "full already is a whole model."),
        ("llama.lora.seed0", [], "Add --merged to include the base, or --base OWNER/NAME"),
        ("llama.lora.seed0", ["--base", "nowhere"], "nowhere: is not a name of a repository."),
    ],
)
def test_an_arm_that_cannot_be_published_gets_a_reason(arm, options, sentence, decoder, tmp_path, capsys):
    folder = str(decoder / "arms" / arm)
    assert main(["publish", folder, "me/it", "--to", str(tmp_path / "to"), *options]) == 2
    assert sentence in capsys.readouterr().err


def test_a_decoder_that_answers_questions_is_refused(questions):
    publication = prepare_publication(questions / "arms" / "bert.head", False, None)
    arm = arm_from("lora", ["lora.objective=words"])
    with pytest.raises(RecipeError, match="only encoders with a span head"):
        _objective("arm", arm, "questions", publication.spec)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm-l6", "stories260k"])
def test_real_models_reproduce_the_study_in_a_fresh_process(name, tmp_path):
    model = Path(__file__).parents[3] / "shared" / "models" / name
    if not model.is_dir():
        pytest.skip(f"{name} is not in ../shared")
    study = ran(small_recipe(tmp_path, [model], ["majority", "head", "lora"], train={"epochs": 1}))
    for arm in (f"{name}.head", f"{name}.lora.seed0"):
        result = publish_arm(study / "arms" / arm, "me/it", tmp_path / arm, merged=True)
        assert result.gate.difference < 1e-4
