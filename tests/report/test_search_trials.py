"""The trials of a search on dev as a table: a row per setting, a column per rung, the choice marked."""

import json
from pathlib import Path
from typing import Any

from tests.report.made_study import write_study
from tuneproof.record.study_folder import read_study
from tuneproof.report.page import render
from tuneproof.report.search_trials import search_tables
from tuneproof.report.tables import pooled_rows


def trial(rate: float, rung: int, loss: float | None) -> dict[str, Any]:
    steps = 40 * 2**rung
    settings = {"learning_rate": rate, "targets": "<b>all</b>"}
    return {
        "settings": settings,
        "rung": rung,
        "steps": steps,
        "dev_loss": loss,
        "time_s": 2.0,
        "kept": False,
    }


SEARCH = {
    "settings": {"learning_rate": [1e-3, 3e-4, 3e-5]},
    "budget_steps": 220,
    "trials": [trial(1e-3, 0, None), trial(3e-4, 0, 0.5), trial(3e-5, 0, 0.69), trial(3e-4, 1, 0.4321)],
    "chosen": {"learning_rate": 3e-4, "targets": "<b>all</b>"},
}


def searched(folder: Path) -> Path:
    path = write_study(folder) / "arms" / "minilm.lora.seed0" / "arm.json"
    about = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**about, "search": SEARCH, "time_s": {**about["time_s"], "search": 8.0}}))
    return folder


def test_every_setting_has_its_loss_at_every_rung(tmp_path: Path) -> None:
    (search,) = search_tables(pooled_rows(read_study(searched(tmp_path))))
    assert search.name == "lora"
    assert search.table.header == ("learning_rate", "targets", "dev loss, 40 steps", "dev loss, 80 steps")
    assert [(row[0], *row[2:]) for row in search.table.rows] == [
        ("1e−3", "diverged", "stopped"),
        ("3e−4", "0.5000", "0.4321"),
        ("3e−5", "0.6900", "stopped"),
    ]
    assert search.chosen == 1
    assert search.cost == "4 trials, 200 steps of 220, 8 s: part of the arm's time."


def test_the_page_shows_the_trials_escaped_with_the_choice_and_the_json_has_them(tmp_path: Path) -> None:
    reports = render(searched(tmp_path))
    html = reports.html.read_text("utf-8")
    section = html[html.index('<section id="search"') : html.index('<section id="label-efficiency"')]
    assert section.count('<tr class="chosen">') == 1
    assert "3e−4 <span" in section
    assert "<b>all" not in section
    arms = json.loads(reports.json.read_text("utf-8"))["arms"]
    assert {arm["arm"]: arm["search"] for arm in arms if arm["search"]} == {"lora": SEARCH}
