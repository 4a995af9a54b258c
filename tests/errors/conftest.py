"""Carries out a bad input and compares the parts of its error.

In: a case. Out: nothing; it asserts. Knows nothing of: any one room.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.errors.case import GOOD, LIBRARY, Case
from tests.tiny_models import tiny_config, tiny_model, tiny_tokenizer
from tuneproof.cli.main import main
from tuneproof.errors import TuneproofError
from tuneproof.redact import printable


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """Tiny models, whole and spoilt in one way each."""
    from transformers import BertModel

    folder = tmp_path_factory.mktemp("models")
    for kind in ("distilbert", "llama"):
        tiny_model(folder / kind, kind)
    tokenizer = tiny_tokenizer("bert")  # as MiniLM's checkpoint: no masked-language-model head
    BertModel(tiny_config("bert", tokenizer)).save_pretrained(folder / "minilm")
    tokenizer.save_pretrained(folder / "minilm")
    config = json.loads((folder / "llama" / "config.json").read_text())

    def spoil(name: str, file: str, text: str | None) -> Path:
        shutil.copytree(folder / "llama", folder / name)
        if text is None:
            (folder / name / file).unlink()
        else:
            (folder / name / file).write_text(text)
        return folder / name

    (folder / "none").mkdir()
    spoil("weightless", "model.safetensors", None)
    (spoil("pickled", "model.safetensors", None) / "pytorch_model.bin").write_text("x")
    spoil("adapter", "adapter_config.json", "{}")
    spoil("broken", "config.json", "{")
    spoil("list", "config.json", "[]")
    spoil("strange", "config.json", json.dumps({**config, "model_type": "lama"}))
    spoil("typeless", "config.json", json.dumps({"vocab_size": 9}))
    spoil("misfit", "config.json", json.dumps({**config, "hidden_size": "wide"}))
    spoil("t5", "config.json", json.dumps({"model_type": "t5", "vocab_size": 100}))
    spoil("badshape", "config.json", json.dumps({**config, "hidden_size": 64}))
    spoil("mute", "tokenizer.json", None)
    spoil("badtok", "tokenizer.json", "{")
    spoil("badweights", "model.safetensors", "nonsense")
    tiny_tokenizer("distilbert").save_pretrained(spoil("swapped", "tokenizer.json", None))
    return folder


@pytest.fixture
def provoke(tmp_path, monkeypatch, capsys, request) -> Callable[[Case], None]:
    """Run a case; its error must have the expected parts and be all that is printed."""

    def run(case: Case) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "reviews.csv").write_text(GOOD)
        if any("models/" in text for text in [*case.argv, *map(str, case.files.values())]):
            (tmp_path / "models").symlink_to(request.getfixturevalue("models"))
        for file, content in case.files.items():
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        for argv in case.first:
            assert main(argv) == 0
        if case.before:
            case.before(monkeypatch)
        errors = _collect_errors(monkeypatch)
        capsys.readouterr()
        code = main(case.argv)
        printed = capsys.readouterr().err
        monkeypatch.undo()
        raised = [error for error in errors if printed == f"tuneproof: {printable(str(error))}\n"]
        assert raised, f"no error printed as one paragraph: {printed}"
        assert_parts(raised[0], case)
        assert code == case.code

    return run


def _collect_errors(monkeypatch: pytest.MonkeyPatch) -> list[TuneproofError]:
    """A list that every error of the package joins when it is made."""
    errors: list[TuneproofError] = []
    original = TuneproofError.__init__

    def collecting(self: TuneproofError, *parts: str, **named: str) -> None:
        original(self, *parts, **named)
        errors.append(self)

    monkeypatch.setattr(TuneproofError, "__init__", collecting)
    return errors


def assert_parts(error: TuneproofError, case: Case) -> None:
    """Every part is exact, but for what stands as <library> in the expected one."""
    parts = {name: printable(getattr(error, name)) for name in case.parts._fields}
    expected = case.parts._asdict()
    for name, text in expected.items():
        if LIBRARY in text:
            pattern = re.escape(text).replace(re.escape(LIBRARY), "[^\n]*")
            if re.fullmatch(pattern, parts[name]):
                expected[name] = parts[name]
    assert parts == expected
