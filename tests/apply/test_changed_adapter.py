"""An arm whose adapter was changed together with its checksums predicts nothing and is not published."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.tiny_models import tiny_model
from tuneproof.apply.labels import predict
from tuneproof.atomic import MANIFEST, sha256_of_file
from tuneproof.errors import ModelError
from tuneproof.publish.files import prepare_publication, write_weights
from tuneproof.study.study import run


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("changed")
    tiny_model(root / "tiny", "llama")
    with open(root / "own.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["review", "mood"])
        rows.writerows(
            [f"place {number} was {mood}", mood] for number in range(16) for mood in ("good", "bad")
        )
    recipe = {
        "task": {"labels": {"path": str(root / "own.csv"), "text": "review", "label": "mood"}},
        "models": [str(root / "tiny")],
        "arms": [{"lora": {"epochs": 1, "rank": 2}}, "head"],
        "seeds": [0],
        "encode": {"max_length": 32},
        "out": str(root / "study"),
    }
    return run(recipe).folder


@pytest.fixture
def arm(study, request) -> Iterator[Path]:
    """An arm whose weights are put back afterwards."""
    folder = study / "arms" / getattr(request, "param", "tiny.lora.seed0")
    before = shutil.copytree(folder / "weights", study / "before")
    yield folder
    shutil.rmtree(folder / "weights")
    before.rename(folder / "weights")


def sign_again(weights: Path) -> None:
    """Write the checksums of the files as they are now."""
    names = json.loads((weights / MANIFEST).read_text())
    (weights / MANIFEST).write_text(json.dumps({name: sha256_of_file(weights / name) for name in names}))


def replicate(weights: Path) -> str:
    path = weights / "adapter_config.json"
    values = json.loads(path.read_text()) | {"layer_replication": [[0, 2], [0, 2]]}
    path.write_text(json.dumps(values))
    return r"adapter_config\.json: layer_replication is"


def remove_tensor(weights: Path) -> str:
    path = weights / "adapter_model.safetensors"
    tensors = load_file(path)
    del tensors[next(name for name in tensors if "lora_B" in name)]
    save_file(tensors, path, metadata={"format": "pt"})
    return r"adapter_model\.safetensors: 1 of the adapter's tensors are missing"


@pytest.mark.parametrize("change", [replicate, remove_tensor])
def test_it_is_refused_wherever_it_would_be_loaded(arm, tmp_path, change) -> None:
    assert len(predict(arm, ["a good place"])) == 1
    sentence = change(arm / "weights")
    sign_again(arm / "weights")
    with pytest.raises(ModelError, match=sentence):
        predict(arm, ["a good place"])
    for merged in (False, True):
        publication = prepare_publication(arm, merged, "someone/base")
        with pytest.raises(ModelError, match=sentence):
            write_weights(publication, tmp_path)
        assert not list(tmp_path.iterdir())


HEADS = {
    "no bias": (lambda head: head.pop("bias"), r"holds the tensors .*, not weight"),
    "one more": (lambda head: head.update(scale=head["bias"]), r"holds the tensors .*, not weight"),
    "another label": (
        lambda head: head.update(weight=np.zeros((3, 32), np.float32), bias=np.zeros(3, np.float32)),
        r"weight has the shape \[3, 32\], not \[2, 32\]",
    ),
    "another width": (
        lambda head: head.update(weight=np.zeros((2, 16), np.float32)),
        r"weight has the shape \[2, 16\], not \[2, 32\]",
    ),
    "not a number": (lambda head: head["bias"].fill(np.nan), "bias holds values that are not finite"),
}


@pytest.mark.parametrize("arm", ["tiny.head"], indirect=True)
@pytest.mark.parametrize("name", HEADS)
def test_a_changed_head_is_refused_by_its_tensor(arm, name) -> None:
    change, sentence = HEADS[name]
    path = arm / "weights" / "head.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    sign_again(arm / "weights")
    with pytest.raises(ModelError, match=sentence):
        predict(arm, ["a good place"])


@pytest.mark.parametrize("arm", ["tiny.head"], indirect=True)
@pytest.mark.parametrize("text", ["{}", "[]", '{"pooling": "max"}', '{"pooling": ["mean"]}'])
def test_a_head_of_another_pooling_is_refused(arm, text) -> None:
    (arm / "weights" / "head.json").write_text(text)
    sign_again(arm / "weights")
    with pytest.raises(ModelError, match="it must be first, mean, last or unit-mean"):
        predict(arm, ["a good place"])
    with pytest.raises(ModelError, match="it must be first, mean, last or unit-mean"):
        prepare_publication(arm, False, "someone/base")
