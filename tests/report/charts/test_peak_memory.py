"""Predicted peaks beside measured ones: nothing is lost between ledger.json and the page."""

import json
import re

import pytest

from tests.report.made_study import write_study
from tuneproof.record.study_folder import read_study
from tuneproof.report.charts.peak_memory import PARTS, peak_memory
from tuneproof.report.page import render
from tuneproof.report.tables import pooled_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("peaks"))


def test_the_strips_are_as_long_as_the_bytes(folder) -> None:
    rows = pooled_rows(read_study(folder))
    found = peak_memory(rows)
    assert found is not None
    for plot_row in found["rows"]:
        row = next(row for row in rows if row.label == plot_row.name)
        memory = row.records[0].ledger["memory"]
        widths = [float(w) for w in re.findall(r'<rect[^>]* width="([\d.]+)%"', plot_row.strip)]
        drawn = [name for name in PARTS if memory["predicted"]["train"][name]]
        assert len(widths) == len(drawn) + 1
        (measured,) = re.findall(r'<line x1="([\d.]+)%"', plot_row.strip)
        share = sum(widths) / float(measured)
        assert share == pytest.approx(memory["predicted_bytes"] / memory["measured_bytes"], rel=2e-3)


def test_the_page_shows_prediction_measurement_and_error(folder) -> None:
    reports = render(folder)
    html = reports.html.read_text("utf-8")
    assert 'id="memory"' in html
    assert "&lt;b&gt;80&lt;/b&gt; MiB" in html
    arms = json.loads(reports.json.read_text("utf-8"))["arms"]
    known = [arm["memory"] for arm in arms if arm["memory"]]
    assert known
    assert known[0]["error"] == pytest.approx(known[0]["predicted_bytes"] / known[0]["measured_bytes"] - 1)
    errors = re.findall(r"[+−][\d.]+ %", html[html.index('id="memory"') :][:20_000])
    assert len(errors) >= 1


def test_without_a_prediction_there_is_no_section(folder) -> None:
    assert peak_memory([]) is None
    rows = [row for row in pooled_rows(read_study(folder)) if row.kind == "baseline"]
    assert peak_memory(rows) is None
