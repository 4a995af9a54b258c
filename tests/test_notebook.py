"""The notebook of the examples runs from its first cell to its last, on small local data and a tiny model."""

import importlib.metadata
import importlib.util
import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.arms.questions import question_models, question_rows
from tests.arms.small import rows_of
from tuneproof.families import family_of
from tuneproof.families.blocks import layers_of, with_layers
from tuneproof.families.models import MODELS, resolve_model
from tuneproof.memory.simulate_step import SimulatedArm, Workload, simulate_step
from tuneproof.models.precision import Card, choose_precision
from tuneproof.parameters.count import load_configuration
from tuneproof.recipe.recipe import Recipe, recipe_from
from tuneproof.settings import parse_memory_size
from tuneproof.tasks import TASKS
from tuneproof.throughput.linear_cost import line_through

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "colab.ipynb"
PREINSTALLED = json.loads((ROOT / "tests" / "cases" / "preinstalled.json").read_text("utf-8"))
MICRO_BATCHES = {"smollm2-360m": 16, "gemma-3-270m": 16, "qwen3-0.6b": 8}  # that fit a T4, of batches of 16
ABSENT = {"colorama", "portalocker", "rouge-score", "ruamel-yaml", "sacrebleu"}  # on both hosts
nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed")
STAND_INS = """
SIZE = {
    "memory": "4GB",
    "seeds": [0],
    "sst2": {"train_size": 32, "dev_size": 10, "test_size": 20},
    "squad": {"train_size": 24, "dev_size": 8, "test_size": 12},
    "max_length": 700,
}
"""


@pytest.fixture(scope="module")
def book():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_of(book):
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


def parameters_of(book) -> int:
    """The index of the cell that a run with other parameters follows up, as papermill does."""
    (index,) = (i for i, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", ()))
    return index


def test_the_notebook_is_short_selects_a_gpu_and_is_kept_without_outputs(book) -> None:
    nbformat.validate(book)
    assert len(book.cells) <= 25
    assert book.metadata["accelerator"] == "GPU"
    assert book.metadata["colab"]["gpuType"] == "T4"
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in book.cells)
    kinds = [cell.cell_type for cell in book.cells]
    assert kinds.count("code") <= 2 * kinds.count("markdown"), "prose says why"


def test_one_cell_chooses_between_sizes_for_a_t4_and_for_a_cpu(book, monkeypatch) -> None:
    import torch

    source = book.cells[parameters_of(book)].source
    chosen = {}
    for has_gpu in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda value=has_gpu: value)
        values: dict = {}
        exec(source, values)
        chosen[has_gpu] = values
    assert set(chosen[True]["SIZES"]) == {"T4", "CPU"}
    assert chosen[True]["SIZE"] == chosen[True]["SIZES"]["T4"]
    assert chosen[False]["SIZE"] == chosen[False]["SIZES"]["CPU"]
    for part in ("sst2", "squad"):
        assert chosen[True]["SIZE"][part]["train_size"] > chosen[False]["SIZE"][part]["train_size"]
    for values in chosen.values():
        assert not MODELS[values["MODEL"]].gated, "it works at once"
        assert {values["SST2"], values["SQUAD"]} <= set(TASKS)
        assert "to" in values["PUBLISH"], "nothing is uploaded unless the user says so"


def test_every_model_that_is_named_is_in_the_catalog(book) -> None:
    names = set(re.findall(r'"([a-z]+[a-z0-9.-]*-[0-9.]+[bm](?:-\w+)?)"', "\n".join(code_of(book))))
    assert names <= set(MODELS)
    assert names == {*MICRO_BATCHES, "smollm2-135m"}
    assert any(MODELS[name].gated for name in names), "a gated one as the alternative"


def changes_of_pip(packages: dict[str, str]) -> tuple[set[str], set[str]]:
    """What `pip install tuneproof` upgrades and adds beside these packages: all else is enough as it is.

    The requirements of what is upgraded or added are those of the versions that are installed here.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    upgraded, added, requirements = set(), set(), list(project["dependencies"])
    while requirements:
        requirement = Requirement(requirements.pop())
        name = canonicalize_name(requirement.name)
        version = packages.get(name)
        is_kept = version is not None and requirement.specifier.contains(version, prereleases=True)
        does_not_apply = requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})
        if is_kept or does_not_apply or name in upgraded | added:
            continue
        (added if version is None else upgraded).add(name)
        requirements += importlib.metadata.requires(name) or ()
    return upgraded, added


@pytest.mark.parametrize("host", sorted(PREINSTALLED))
def test_the_installation_keeps_the_hosts_torch_and_all_else_that_is_enough(host) -> None:
    packages = PREINSTALLED[host]["packages"]
    assert packages["torch"].partition("+")[2].startswith("cu"), "a list of a machine with a GPU"
    upgraded, added = changes_of_pip(packages)
    assert upgraded == {"filelock"}
    assert added == ABSENT


@pytest.mark.parametrize("version", ["2.11.0+cu128", None])
def test_the_cell_that_installs_names_the_torch_that_is_there(book, monkeypatch, version) -> None:
    shells = pytest.importorskip("IPython.core.interactiveshell")
    lines: list[str] = []
    shell = shells.InteractiveShell()
    shell.history_manager.enabled = False
    shell.register_magic_function(lines.append, "line", "pip")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: version if name == "torch" else None)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    (cell,) = (source for source in code_of(book) if "%pip" in source)
    shell.run_cell(cell).raise_error()
    pinned = f'"torch=={version}"' if version else '"torch"'
    assert lines == [f'install -q "git+https://github.com/tuneproof/tuneproof" {pinned}']


def precision_on_a_t4(name: str) -> tuple[str, str]:
    config, _, _ = load_configuration(resolve_model(name, weights=False))
    overflowing = [] if family_of(config).fits_fp16(config) else [name]
    return choose_precision("cuda", Card("Tesla T4", has_bf16=False), overflowing)


@pytest.mark.parametrize("name", sorted(MICRO_BATCHES))
def test_a_t4_runs_gemma_3_in_fp32_and_the_other_models_in_fp16(name) -> None:
    precision, reason = precision_on_a_t4(name)
    assert precision == ("fp32" if name.startswith("gemma-3") else "fp16")
    assert "Tesla T4 has no instructions for bf16" in reason
    assert (f"{name} exceeds the range of fp16" in reason) == (precision == "fp32")


def recipes_of(book, monkeypatch) -> list[Recipe]:
    """What its two studies run on a T4, by its own cells."""
    import torch

    recipes: list[dict] = []
    values: dict = {}
    with monkeypatch.context() as patched:
        patched.setattr(torch.cuda, "is_available", lambda: True)
        exec(book.cells[parameters_of(book)].source, values)
    monkeypatch.setattr("tuneproof.run", lambda recipe, monitor: recipes.append(recipe))
    for source in code_of(book):
        if "LORA =" in source or "= run(" in source:
            exec(source, values)
    assert values["SIZE"] == values["SIZES"]["T4"]
    assert values["PRECISION"] == "auto"
    return [recipe_from(recipe) for recipe in recipes]


def predicted_bytes(recipe: Recipe, arm, name: str, micro_batch: int) -> int:
    """The peak of an arm on a T4, on the longest items: of one layer and of two, and a line through both."""
    source = resolve_model(name, weights=False)
    config, _, _ = load_configuration(source)
    length = recipe.encode.max_length
    workload = Workload(
        "cuda",
        precision_on_a_t4(name)[0],
        micro_batch,
        length,
        accumulates=micro_batch < recipe.train.batch_size,
        predict_batch=recipe.predict.batch_size,
        predict_length=length,
        answer_tokens=recipe.encode.answer_tokens,
        generates=recipe.task.kind == "questions",
    )
    tensors: dict[str, dict[int, float]] = {"train": {}, "predict": {}}
    for layers in (1, 2):
        shape = with_layers(config, layers)
        simulated = SimulatedArm(source, shape, family_of(config), arm.method, arm.options)
        estimate = simulate_step(simulated, workload)
        for part, sizes in tensors.items():
            peak = getattr(estimate, part)
            sizes[layers] = peak.tensors_bytes if peak is not None else 0
    largest = max(line_through(sizes).at(layers_of(config)) for sizes in tensors.values())
    return round(largest + estimate.overhead.total_bytes(round(largest)))


@pytest.mark.parametrize(
    "name",
    [
        "smollm2-360m",
        *(pytest.param(other, marks=pytest.mark.slow) for other in ("gemma-3-270m", "qwen3-0.6b")),
    ],
)
def test_both_studies_fit_a_t4_by_prediction(book, monkeypatch, name) -> None:
    recipes = recipes_of(book, monkeypatch)
    assert [recipe.task_name for recipe in recipes] == ["sst2", "squad_v2"]
    for recipe in recipes:
        arms = [arm for arm in recipe.arms if arm.method.needs_model]
        assert [arm.name for arm in arms] == ["zero-shot", "lora"]
        for arm in arms:
            predicted = predicted_bytes(recipe, arm, name, MICRO_BATCHES[name])
            assert 1e9 < predicted <= parse_memory_size(recipe.compute.memory, "memory"), arm.name


def write_stand_ins(folder: Path) -> str:
    """Small files in the layouts of SST-2 and SQuAD 2.0, a tiny model; the cell that names them."""
    sst2, squad = folder / "sst2", folder / "squad"
    for part, count in (("train", 60), ("dev", 40)):
        rows = rows_of(("negative", "positive"), count)
        lines = [json.dumps({"sentence": f"{part} {text}", "label": label}) for text, label in rows]
        sst2.mkdir(exist_ok=True)
        (sst2 / f"{part}.jsonl").write_text("\n".join(lines), "utf-8")
    for part, count in (("train", 60), ("dev", 40)):
        squad.mkdir(exist_ok=True)
        (squad / f"{part}-v2.0.json").write_text(json.dumps(squad_file(part, count)), "utf-8")
    names = {
        "MODEL": str(question_models(folder, ["llama"])["llama"]),
        "SST2": {"sst2": {"path": str(sst2)}},
        "SQUAD": {"squad_v2": {"path": str(squad)}},
        "PUBLISH": {"to": "published", "base": "me/tiny"},
    }
    return STAND_INS + "\n".join(f"{name} = {value!r}" for name, value in names.items())


def squad_file(part: str, count: int) -> dict:
    """Questions in the official layout."""
    paragraphs: dict[str, list[dict]] = {}
    for row in question_rows(count):
        context = f"{part}: {row['context']}"
        answers = [{"text": text, "answer_start": context.index(text)} for text in row["answers"]]
        question = {"id": f"{part}-{row['id']}", "question": row["question"], "answers": answers}
        paragraphs.setdefault(context, []).append({**question, "is_impossible": not answers})
    data = [
        {"title": f"{part} {number}", "paragraphs": [{"context": context, "qas": questions}]}
        for number, (context, questions) in enumerate(paragraphs.items())
    ]
    return {"version": "v2.0", "data": data}


@pytest.mark.slow
def test_every_cell_runs_and_both_studies_show_themselves(book, tmp_path, monkeypatch) -> None:
    from nbclient import NotebookClient

    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    book = nbformat.from_dict(book)
    cell = nbformat.v4.new_code_cell(write_stand_ins(tmp_path))
    book.cells.insert(parameters_of(book) + 1, cell)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=300, kernel_name="python3", resources=where).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    shown = "".join(str(output.get("data", {}).get("text/html")) for output in outputs)
    assert shown.count('<iframe sandbox=""') == 2, "verdict, table and charts of both studies"
    printed = "".join(output.get("text", "") for output in outputs)
    assert "trainable" in printed, "the count"
    assert "Items that fit" in printed, "the memory"
    assert "lora seed 0" in printed, "a line for each arm"
    assert "\x1b" not in printed, "plain text, no bars"
    for metric in ("accuracy", "squad_f1"):
        report = json.loads((tmp_path / "studies" / metric / "report.json").read_text())
        assert {arm["arm"] for arm in report["arms"]} == {"majority", "lexical", "zero-shot", "lora"}
        assert {arm["status"] for arm in report["arms"]} == {"done"}
        assert (tmp_path / "studies" / metric / "report.html").is_file()
    assert {"README.md", "adapter_model.safetensors"} <= {
        file.name for file in (tmp_path / "published").iterdir()
    }
