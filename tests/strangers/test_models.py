"""Bad inputs 1 to 15: a stranger's model."""

import ast
import json
import struct
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from tests.strangers.workspace import Workspace
from tuneproof.errors import ModelError
from tuneproof.families import family_of
from tuneproof.families.models import ModelSource
from tuneproof.models.checkpoint_files import read_config, read_tokenizer_with_notes
from tuneproof.models.load import load_model

SOURCES = sorted((Path(__file__).parents[2] / "src").rglob("*.py"))


def opened(folder: Path, name: str = "model", local: bool = True):
    """A model loaded past the checks of its folder's names."""
    source = ModelSource(name, str(folder), None, local)
    config = read_config(source)
    family = family_of(config)
    tokenizer = read_tokenizer_with_notes(source, config, family)[0]
    return load_model(source, config, tokenizer, family, head="labels", labels=["a", "b"])


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.ckpt", "model.pkl"])
def test_01_a_pickle_is_refused_before_it_is_opened(workspace: Workspace, tiny, name):
    folder = workspace.model(tiny)
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(workspace.evil())
    workspace.check().refused("safetensors", "can run code", "save_pretrained")


def test_02_beside_safetensors_a_pickle_is_never_opened(workspace: Workspace, tiny, monkeypatch):
    folder = workspace.model(tiny)
    for name in ("pytorch_model.bin", "optimizer.pt", "training_args.bin"):
        (folder / name).write_bytes(workspace.evil())
    monkeypatch.setattr("torch.load", None)
    assert workspace.run().code == 0


def test_03_an_adapter_with_a_pickle_is_refused(workspace: Workspace, tiny):
    folder = workspace.model(tiny)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.bin").write_bytes(workspace.evil())
    workspace.check().refused("an adapter beside it", "take adapter_config.json out")


def test_03_an_adapter_in_a_cached_model_is_not_followed(workspace: Workspace, tiny):
    folder = workspace.model(tiny)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/other"}')
    with pytest.raises(ModelError, match="adapter"):
        opened(folder)


def test_04_a_foreign_pickle_in_a_study_is_never_opened(workspace: Workspace, tiny):
    workspace.model(tiny)
    assert workspace.run().code == 0
    for folder in (workspace / "study", *(workspace / "study" / "arms").glob("*/weights")):
        for name in ("optimizer.pt", "rng_state.pth", "scheduler.pt", "pytorch_model.bin"):
            (folder / name).write_bytes(workspace.evil())
    done = workspace.run_command("predict", "study/arms/model.head", "--input", "reviews.csv")
    assert done.code == 0
    assert done.out.count("\n") == 41


@cache
def calls(file: Path) -> list[str]:
    """Dotted names of what a file calls, with its keywords."""
    found = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            keys = [f"{key.arg}={ast.unparse(key.value)}" for key in node.keywords]
            found.append(f"{ast.unparse(node.func)}({', '.join(keys)})")
    return found


@cache
def imported(file: Path) -> set[str]:
    """Modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("name", ["pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"])
def test_04_no_file_of_ours_unpickles(name):
    assert len(SOURCES) > 100
    assert [file.name for file in SOURCES if name in imported(file)] == []


def test_04_torch_and_numpy_load_nothing_that_runs():
    every = [call for file in SOURCES for call in calls(file)]
    assert len(every) > 1000
    loads = [call for call in every if call.startswith("torch.load(")]
    assert [call for call in loads if "weights_only=True" not in call] == []
    assert [call for call in every if "allow_pickle" in call] == []
    assert [call for call in every if "trust_remote_code=" in call and "=False" not in call] == []


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "strange", "auto_map": {"AutoConfig": "evil.Config"}},
        {"model_type": None, "auto_map": {"AutoConfig": "evil.Config"}},
        {"model_type": "strange", "auto_map": {"AutoConfig": "evil/code--evil.Config"}},
    ],
)
def test_05_code_of_an_unknown_type_is_refused_without_a_question(workspace: Workspace, tiny, config):
    folder = workspace.model(tiny, **config)
    (folder / "evil.py").write_text(f"open({str(workspace.canary)!r}, 'w')")
    workspace.check().refused("is not an architecture that transformers has", "never run")


def test_06_code_beside_a_known_type_is_left_aside_and_said(workspace: Workspace, tiny):
    named = {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}
    folder = workspace.model(tiny, auto_map=named)
    (folder / "evil.py").write_text(f"open({str(workspace.canary)!r}, 'w')")
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["auto_map"] = {"AutoTokenizer": ["evil.Tokenizer", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    result = workspace.check()
    assert result.code == 0
    assert "auto_map in its configuration can name code" in result.out
    assert "auto_map in its tokenizer's configuration can name code" in result.out
    assert workspace.run().code == 0


@pytest.mark.parametrize(
    "key",
    [
        "attn_implementation",
        "_attn_implementation",
        "_attn_implementation_internal",
        "attn_implementation_autoset",
        "experts_implementation",
        "use_kernels",
        "kernel_config",
    ],
)
def test_07_a_kernel_by_name_is_left_aside_and_said(workspace: Workspace, tiny, key, monkeypatch):
    (workspace / "kernels.py").write_text(f"open({str(workspace.canary)!r}, 'w')")
    monkeypatch.syspath_prepend(str(workspace.folder))
    workspace.model(tiny, **{key: "evil/kernel"})
    result = workspace.run()
    monkeypatch.delitem(sys.modules, "kernels", raising=False)
    assert result.code == 0
    checked = workspace.check()
    assert f"{key} in its configuration can name code" in checked.out


@pytest.mark.parametrize(
    "config",
    [
        {"trust_remote_code": True},
        {"rope_scaling": None, "extra": {"trust_remote_code": True}},
        {"extra": [{"auto_map": {"AutoModel": "evil.M"}}]},
        {"custom_generate": "evil/generate"},
    ],
)
def test_08_trust_in_a_configuration_is_left_aside_and_said(workspace: Workspace, tiny, config):
    workspace.model(tiny, **config)
    result = workspace.run()
    assert result.code == 0
    assert "can name code" in workspace.check().out


def test_09_a_saved_adapter_that_names_another_base_is_refused(workspace: Workspace, tiny):
    workspace.model(tiny)
    assert workspace.run("--set", "arms.lora={epochs: 1}", arms="lora").code == 0
    folder = workspace / "study" / "arms" / "model.lora.seed0" / "weights"
    adapters = list(folder.rglob("adapter_config.json")) or list(folder.rglob("*.json"))
    values = json.loads(adapters[0].read_text())
    adapters[0].write_text(json.dumps({**values, "base_model_name_or_path": "evil/other"}))
    result = workspace.run_command("predict", "study/arms/model.lora.seed0", "--input", "reviews.csv")
    result.refused("checksum differs")


TEMPLATES = {
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('touch canary') }}",
    "format": "{{ '{0.__class__}'.format(messages) }}",
    "attribute": "{{ messages|map(attribute='__class__')|list }}{{ raise_exception('end') }}",
    "a file": "{% include '/etc/passwd' %}",
    "an import": "{% import 'os' as os %}",
    "a namespace": "{% set n = namespace(__class__=1) %}",
    "a change": "{{ messages.append(messages) }}",
    "division": "{{ 1 / 0 }}",
    "no end": "{{",
    "itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "its own error": "{{ raise_exception('roles must alternate') }}",
}


def templated(workspace: Workspace, tiny: Path, template: str) -> None:
    folder = workspace.model(tiny)
    (folder / "chat_template.jinja").write_text(template)


@pytest.mark.parametrize("name", TEMPLATES)
def test_10_a_chat_template_stays_in_its_sandbox(workspace: Workspace, tiny, name):
    templated(workspace, tiny, TEMPLATES[name])
    result = workspace.check(arms="zero-shot")
    if name == "attribute":
        result.refused("its chat template")
        return
    result.refused("its chat template", "encode.chat: never")


def test_10_without_its_chat_template_the_model_can_be_used(workspace: Workspace, tiny):
    templated(workspace, tiny, TEMPLATES["classes"])
    assert workspace.check("--set", "encode.chat=never", arms="zero-shot").code == 0


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% set b = messages[0].content * 99999 %}{% endfor %}",
        "{{ 9 ** (9 ** 9) }}",
    ],
)
def test_11_a_chat_template_without_end_is_stopped(workspace: Workspace, tiny, template):
    templated(workspace, tiny, template)
    begun = time.monotonic()
    workspace.check(arms="zero-shot").refused("more than 2 seconds")
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10 ** 9 }}",
        "{{ 'a' * 10 ** 7 }}",
        "{% for a in range(99999) %}{{ 'a' * 999 }}{% endfor %}",
        "{{ ['a'] * 10 ** 10 }}",
    ],
)
def test_12_a_chat_template_cannot_fill_the_memory(workspace: Workspace, tiny, template):
    templated(workspace, tiny, template)
    result = workspace.check(arms="zero-shot")
    result.refused("its chat template failed: it ")


def header(values: dict, length: int | None = None) -> bytes:
    text = json.dumps(values).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


def tensor(shape: list[int], offsets: list[int], dtype: str = "F32") -> dict:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    "data",
    [
        header({}, 2**60),
        header({}, 2**63),
        header(tensor([2**40, 2**40], [0, 4])) + b"1234",
        header(tensor([1], [0, 2**60])),
        header(tensor([1], [4, 0])) + b"1234",
        header(tensor([1], [0, 4], "EVIL")) + b"1234",
        header(tensor([-1], [0, 4])) + b"1234",
        b"",
        b"\x80\x05garbage",
        b"{" * 100,
        header({"a": [[[[]]]]}),
    ],
    ids=lambda data: data[:24].hex(),
)
def test_13_a_safetensors_file_that_lies_is_refused(workspace: Workspace, tiny, data):
    folder = workspace.model(tiny)
    (folder / "model.safetensors").write_bytes(data)
    workspace.check().refused("model.safetensors: cannot be read")


@pytest.mark.parametrize(
    "shard", ["../../etc/passwd", "/etc/passwd", "..\\..\\evil", "../model/other.safetensors", "a/b", "."]
)
def test_14_an_index_that_leads_out_of_the_folder_is_refused(workspace: Workspace, tiny, shard):
    folder = workspace.model(tiny)
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    index = {"metadata": {}, "weight_map": {"model.embed_tokens.weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    result = workspace.check()
    result.refused()
    assert "points outside its folder" in result.err or "cannot be read" in result.err


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": []}', "{" * 5000, "[" * 5000])
def test_14_an_index_of_another_shape_is_refused(workspace: Workspace, tiny, index):
    folder = workspace.model(tiny)
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    (folder / "model.safetensors.index.json").write_text(index)
    workspace.check().refused("model.safetensors.index.json")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "notes.txt"])
def test_14_a_link_that_leads_out_of_the_folder_is_refused(workspace: Workspace, tiny, name):
    folder = workspace.model(tiny)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to("/etc/passwd")
    workspace.check().refused(name, "a link that leads out of the model's folder")


def test_14_links_within_the_hubs_cache_are_followed(workspace: Workspace, tiny):
    folder = workspace.model(tiny)
    blobs = workspace / "hub" / "blobs"
    snapshot = workspace / "hub" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        file.rename(blobs / file.name)
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    assert workspace.check(model="hub/snapshots/abc").code == 0


@pytest.mark.parametrize(
    "config",
    [
        {"vocab_size": 10**11},
        {"hidden_size": 10**9},
        {"num_hidden_layers": 10**6},
        {"vocab_size": -1},
        {"hidden_size": 0},
        {"num_attention_heads": 0},
        {"vocab_size": 10**7},
    ],
)
def test_15_a_configuration_without_bounds_is_refused(workspace: Workspace, tiny, config):
    workspace.model(tiny, **config)
    workspace.run().refused()


def test_15_a_configuration_larger_than_its_checkpoint_is_refused_before_memory_is_taken(
    workspace: Workspace, tiny
):
    folder = workspace.model(tiny, intermediate_size=10**8)
    with pytest.raises(ModelError, match=r"describes [\d,]+ parameters \([\d,.]+ GiB in fp32\)"):
        opened(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json"])
def test_15_json_nested_without_end_is_refused(workspace: Workspace, tiny, name):
    folder = workspace.model(tiny)
    (folder / name).write_text("[" * 100_000)
    workspace.check().refused()
