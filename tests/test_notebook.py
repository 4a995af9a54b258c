"""The notebook of the examples runs from its first cell to its last, on small local data and a tiny model."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.arms.questions import question_models, question_rows
from tests.arms.small import rows_of
from tuneproof.families.models import MODELS
from tuneproof.tasks import TASKS

NOTEBOOK = Path(__file__).parents[1] / "examples" / "colab.ipynb"
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
    assert len(names) >= 3
    assert any(MODELS[name].gated for name in names), "a gated one as the alternative"


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
