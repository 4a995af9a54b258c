"""The notebook of the examples runs from its first cell to its last."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "colab.ipynb"
nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed")


def test_the_notebook_is_kept_without_outputs() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    assert len(book.cells) < 20
    assert all(not cell.get("outputs") for cell in book.cells)


def test_every_cell_runs_and_a_study_shows_itself(tmp_path) -> None:
    from nbclient import NotebookClient

    book = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [
        output["data"]["text/html"]
        for cell in book.cells
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]
    assert outputs[0].startswith('<iframe sandbox=""'), "verdict, table and charts"
    assert "lexical" in outputs[0]
    assert len(outputs) >= 4, "and data frames"
    assert (tmp_path / "studies" / "notebook" / "report.html").is_file()
