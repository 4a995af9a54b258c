"""How fast arms trained: what the ledger says stands on the page; what is not known is not shown."""

import json

from tests.report.made_study import RATE, write_study
from tuneproof.atomic import read_json, write_json
from tuneproof.record.study_folder import read_study
from tuneproof.report.page import render
from tuneproof.report.tables import pooled_rows
from tuneproof.report.training_speed import speed_table


def test_the_page_shows_the_shares_beside_tokens_a_second(tmp_path) -> None:
    folder = write_study(tmp_path)
    table = speed_table(pooled_rows(read_study(folder)))
    assert table is not None
    assert [row[0] for row in table.rows] == ["lora", "full"]
    assert table.rows[0][1:] == ("5,000", "130 M", "62 %", "0.81 %")
    reports = render(folder)
    html = reports.html.read_text("utf-8")
    assert 'id="throughput"' in html
    assert "FLOPs per token" in html
    assert "MFU" in html
    arms = json.loads(reports.json.read_text("utf-8"))["arms"]
    assert {arm["arm"] for arm in arms if arm["training_speed"]} == {"lora", "full"}
    assert next(arm["training_speed"] for arm in arms if arm["arm"] == "full") == RATE


def test_older_records_and_unknown_shares_show_nothing(tmp_path) -> None:
    folder = write_study(tmp_path)
    for path in sorted(folder.rglob("ledger.json")):
        ledger = read_json(path)
        if "training_speed" in ledger:
            ledger["training_speed"] = {**RATE, "mfu": None, "bandwidth_utilization": None}
            write_json(path, ledger)
    table = speed_table(pooled_rows(read_study(folder)))
    assert table is not None
    assert table.rows[0][1:] == ("5,000", "130 M", "–", "–")
    for path in folder.rglob("ledger.json"):
        write_json(path, {k: v for k, v in read_json(path).items() if k != "training_speed"})
    assert speed_table(pooled_rows(read_study(folder))) is None
    html = render(folder).html.read_text("utf-8")
    assert 'id="throughput"' not in html
    assert 'id="cost"' in html
