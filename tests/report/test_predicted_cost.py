"""Predicted beside spent time and memory, per arm and in total."""

import json
from pathlib import Path

import pytest

from tests.report.made_study import write_study
from tuneproof.record.study_folder import read_study
from tuneproof.report.page import render
from tuneproof.report.predicted_cost import predicted_cost


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_study(tmp_path_factory.mktemp("study"))
    about = {"train_size": None, "memory_bytes": 10**9, "steps": 5}
    entries = [
        {"label": "head", "arm": "head", "model": "minilm", "seed": None, "time_s": 55.0, **about},
        *(
            {"label": "full", "arm": "full", "model": "minilm", "seed": s, "time_s": 416.0, **about}
            for s in (0, 1)
        ),
        {"label": "few-shot", "arm": "few-shot", "model": "minilm", "seed": None, "time_s": 9.0, **about},
        {"label": "lora", "arm": "lora", "model": "minilm", "seed": 7, "time_s": 9.0, **about},
        {"label": "lexical", "arm": "lexical", "model": None, "seed": None, "time_s": None, **about},
    ]
    (folder / "forecast.json").write_text(json.dumps({"time_s": 900.0, "memory_bytes": 1, "arms": entries}))
    return folder


def test_seeds_are_summed_and_runs_that_did_not_finish_stay_out(folder: Path) -> None:
    table = predicted_cost(read_study(folder))
    assert table is not None
    assert [row[:5] for row in table.rows] == [
        ("head", "1", "55 s", "44 s", "+25 %"),
        ("full", "2", "13 min 52 s", "17 min 20 s", "−20 %"),
        ("all arms", "3", "14 min 47 s", "18 min 04 s", "−18 %"),
    ]


def test_the_cost_section_shows_the_forecast_and_old_studies_have_none(folder: Path, tmp_path: Path) -> None:
    html = render(folder).html.read_text("utf-8")
    section = html[html.index('<section id="cost"') : html.index('<section id="curves"')]
    assert "Predicted and spent" in section
    assert "14 min 47 s" in section
    old = write_study(tmp_path)
    assert predicted_cost(read_study(old)) is None
    assert "Predicted and spent" not in render(old).html.read_text("utf-8")
