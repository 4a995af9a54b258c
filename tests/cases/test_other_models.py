"""Models as people have them: another head, merged, quantised on paper, tied on paper, without numbers.

In: the case folders beside the project, and tiny models where a case names a folder that it has not.
Out: what the commands say. Knows nothing of: how it is found out.
"""

import json
import os
import runpy
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from tests.open_model import SHARED
from tests.tiny_models import tiny_model
from tuneproof.cli.main import main

CASES = SHARED / "cases"
COLUMNS = ("--text", "text", "--label", "label")
ONE_EPOCH = ("--set", "train.epochs=1", "--set", "seeds=[0]")
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")


@pytest.fixture
def case(tmp_path, monkeypatch):
    """Copy a case beside its tables, go there and run its make.py."""

    def enter(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(CASES / name, folder)
        for table in CASES.glob("s*.csv"):
            shutil.copy(table, tmp_path)
            shutil.copy(table, folder)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PROJECT", str(Path(__file__).parents[2]))
        monkeypatch.syspath_prepend(str(CASES))
        if os.path.exists("make.py") and not name.startswith(("models-03", "models-04")):
            runpy.run_path("make.py")
        return folder

    return enter


def output_of(capfd, *command: str) -> tuple[int, str]:
    capfd.readouterr()
    status = main(list(command))
    output = capfd.readouterr()
    return status, " ".join((output.out + output.err).split())


@pytest.mark.slow
def test_lora_on_a_classifier_of_five_labels_is_published(case, capfd) -> None:
    case("models-03-lora-on-classifier-with-other-labels")
    model = AutoModelForSequenceClassification.from_pretrained(SHARED / "models" / "minilm-l6", num_labels=5)
    model.save_pretrained("stars5")
    for file in (SHARED / "models" / "minilm-l6").glob("*token*"):
        shutil.copy(file, "stars5")
    shutil.copy(SHARED / "models" / "minilm-l6" / "vocab.txt", "stars5")
    arms = ("--models", "stars5", "--arms", "majority,lora", "--set", "encode.max_length=48")
    assert output_of(capfd, "run", "sst160.csv", *COLUMNS, *arms, *ONE_EPOCH, "--out", "study")[0] == 0
    arm = "study/arms/stars5.lora.seed0"
    for options in (("--base", "me/stars5", "--to", "pub"), ("--merged", "--to", "pub-merged")):
        status, output = output_of(capfd, "publish", arm, "me/x", *options)
        assert status == 0, output


@pytest.mark.parametrize("name", ["same-order", "reverse-order"])
def test_an_old_head_of_other_names_is_drawn_anew_in_either_order(case, capfd, name) -> None:
    folder = case("models-04-old-head-of-same-size-kept")
    tiny_model(folder / "shout-model", "bert")
    classifier = AutoModelForSequenceClassification.from_pretrained(
        "shout-model", id2label={0: "calm", 1: "shouted"}, label2id={"calm": 0, "shouted": 1}
    )
    classifier.save_pretrained("shout-model")
    arms = ("--models", "shout-model", "--arms", "majority,full", "--set", "encode.max_length=48")
    assert output_of(capfd, "run", f"{name}.csv", *COLUMNS, *arms, *ONE_EPOCH, "--out", "study")[0] == 0
    (about,) = (folder / "study" / "arms").glob("*.full.seed0/arm.json")
    notes = " ".join(json.loads(about.read_text())["notes"])
    assert "Drawn anew: classifier" in notes
    assert "(0 calm, 1 shouted)" in notes


def test_ctrl_trains_under_its_own_head(case, capfd) -> None:
    case("models-09-xlnet")
    arms = ("--models", "ctrl", "--arms", "majority,head,lora")
    status, output = output_of(capfd, "run", "s60short.csv", *COLUMNS, *arms, *ONE_EPOCH, "--out", "s-ctrl")
    assert status == 0, output


def test_a_merged_model_in_its_adapters_folder_is_named(case, capfd) -> None:
    folder = tiny_model(case("models-13-merged-in-adapter-folder") / "merged", "llama")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    shutil.copy(folder / "model.safetensors", folder / "adapter_model.safetensors")
    arms = ("--models", "merged", "--arms", "majority,head")
    status, output = output_of(capfd, "check", "../sst60.csv", *COLUMNS, *arms)
    assert status != 0
    assert "holds a whole model and an adapter beside it. If the adapter is merged into the model" in output


def test_a_left_over_quantization_config_is_named(case, capfd) -> None:
    folder = tiny_model(case("models-14-leftover-quantization-config") / "quantcfg", "llama")
    values = json.loads((folder / "config.json").read_text())
    quantization = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(values | {"quantization_config": quantization}))
    arms = ("--models", "quantcfg", "--arms", "majority,head")
    status, output = output_of(capfd, "check", "../sst60.csv", *COLUMNS, *arms)
    assert status != 0
    assert "they are whole. Take quantization_config out of the file." in output


def test_a_head_trained_apart_is_counted_although_the_flag_says_tied(case, capfd) -> None:
    folder = tiny_model(case("models-15-tied-flag-count") / "tied", "llama")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    loaded = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained("tied").parameters())
    method = ("--method", "lora", "--set", "lora.objective=words", "--head", "words")
    status, output = output_of(capfd, "count", "tied", *method)
    assert status == 0
    assert f"{loaded:,} total" in output
    assert "language-model head a matrix of its own" in output


def test_answers_that_are_not_numbers_fail_the_arm_by_item(case, capfd) -> None:
    case("strangers-01-nan-reads-as-success")
    arms = ("--models", "model", "--arms", "majority,zero-shot", "--seeds", "0")
    status, output = output_of(
        capfd, "run", "q.jsonl", "--questions", *arms, "--set", "encode.max_length=160", "--out", "study"
    )
    assert status != 0
    assert "not finite" in output
