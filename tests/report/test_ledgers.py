"""The page's ledger is as full as `tuneproof count`: architecture, groups, lines, shares."""

import json
from pathlib import Path

from tests.monitoring import run_recorded
from tests.report.made_study import write_study
from tuneproof.parameters.count import count
from tuneproof.parameters.text import architecture_lines
from tuneproof.recipe.recipe import recipe_from
from tuneproof.record.study_folder import read_study
from tuneproof.report.ledgers import arm_ledgers, pretrained_models
from tuneproof.report.page import render
from tuneproof.report.tables import pooled_rows


def test_an_arm_records_what_count_shows(tmp_path: Path) -> None:
    sizes = {"train_size": 40, "dev_size": 20, "test_size": 40}
    values = {
        "task": "demo",
        "models": ["demo"],
        "arms": ["head"],
        "split": sizes,
        "out": str(tmp_path / "study"),
    }
    run_recorded(recipe_from(values))
    folder = tmp_path / "study"
    (entry,) = [json.loads(path.read_text("utf-8")) for path in folder.glob("arms/demo.head*/ledger.json")]
    counted = count("demo").as_json()
    assert entry["pretrained"]["groups"] == counted["groups"]
    assert entry["pretrained"]["published"] == counted["published"]
    assert entry["pretrained"]["architecture_class"] == counted["architecture_class"]
    (model,) = pretrained_models(pooled_rows(read_study(folder)))
    assert [f"{name:<20} {value}" for name, value in model.architecture] == architecture_lines(count("demo"))
    html = render(folder).html.read_text("utf-8")
    assert "Architecture of demo" in html
    assert f"total ({counted['architecture_class']})" in html


def test_the_lines_end_in_the_total_and_the_trainable_share(tmp_path: Path) -> None:
    rows = pooled_rows(read_study(write_study(tmp_path)))
    assert pretrained_models(rows) == []
    (head,) = [ledger for ledger in arm_ledgers(rows) if ledger.name.startswith("head")]
    assert head.table.rows == (
        ("base", "22,713,216", "the model as published, before any change by the arm"),
        ("added head", "+770", "384 × 2 weights and 2 biases"),
        ("total", "22,713,986", ""),
        ("trainable", "770", "0.0034 %"),
    )
