"""The report of a study: one page, one JSON file, one Markdown file, from the study's files alone.

In: a study's directory. Out: report.html, report.json, report.md in it.
Knows nothing of: models, torch, how anything was computed.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tuneproof.atomic import write_json, write_text
from tuneproof.record.study_folder import (
    CONFUSIONS_CSV,
    REPORT_HTML,
    REPORT_JSON,
    REPORT_MD,
    StudyRecord,
    read_study,
)
from tuneproof.report.before_after import BeforeAfter, before_after_tables
from tuneproof.report.charts.svg import arm_colour
from tuneproof.report.confusion_csv import confusion_csv
from tuneproof.report.diagnoses import SIGN
from tuneproof.report.formatting import NumberStyle, choose_style, count, format_number, show_hidden
from tuneproof.report.markdown import report_markdown
from tuneproof.report.recommendation import PAYS_TITLE, recommend
from tuneproof.report.report_json import report_values
from tuneproof.report.sections import build_sections, question, task_name
from tuneproof.report.slices import count_confusions, read_arm_predictions
from tuneproof.report.tables import headlines, overlap_note, pooled_rows

HERE = Path(__file__).parent
OUTCOMES = {"better": "better", "worse": "worse"}


@dataclass(frozen=True)
class ReportPaths:
    """The files of a report."""

    html: Path
    json: Path
    markdown: Path


def inline_json(value: Any) -> Markup:
    """JSON that is safe inside a script element: it cannot end the element or a line."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def _finalize(value: Any) -> Any:
    """Make hidden characters visible in every value of a template."""
    return show_hidden(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _format_example(example: Any) -> str:
    """An example of the audit as text, whatever its shape."""
    if isinstance(example, dict):
        return "; ".join(f"{key}: {value}" for key, value in example.items())
    if isinstance(example, list):
        return " · ".join(str(part) for part in example)
    return str(example)


@cache
def environment() -> Any:
    """The Jinja environment, which escapes everything and shows hidden characters."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )


def styles() -> Markup:
    """The style sheet of every page."""
    return Markup((HERE / "page.css").read_text("utf-8"))


def fill_template(name: str, **values: Any) -> str:
    """A template of this folder with these values and the style sheet."""
    return str(environment().get_template(name).render(**values, css=styles(), count=count))


def page_html(study: StudyRecord, before_after: Sequence[BeforeAfter]) -> str:
    """The page as one string that loads no other file or address."""
    script = (HERE / "page.js").read_text("utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = build_sections(study)
    outcome = str((study.comparisons.get("verdict") or {}).get("outcome") or "")
    note = overlap_note(study)
    sentences = [part.replace(" %", "\u00a0%") for part in headlines(study) if part != note]  # on one line
    sentences = [part.replace("n = ", "n\u00a0=\u00a0") for part in sentences]
    lead, *rest = re.split(r"(?<=[.!?]) (?=[A-Z])", sentences[0], maxsplit=1)
    return fill_template(
        "page.html",
        **parts,
        recommendation=advice.lines if (advice := recommend(study)) else [],
        pays_title=PAYS_TITLE,
        before_after=before_after,
        sign=SIGN,
        verdict=lead,
        verdict_more=rest,
        verdict_rest=sentences[1:],
        overlap=note,
        outcome_class=OUTCOMES.get(outcome, "unsure"),
        js=Markup(script),
        script_hash=f"sha256-{digest}",
        data=inline_json(parts["payload"]),
        colour=arm_colour,
        format_example=_format_example,
        style_for=choose_style,
        share=NumberStyle(),
        plain=format_number,
        sliced="F1 in %" if parts["questions"] else "Accuracy in %",
    )


def render(folder: Path) -> ReportPaths:
    """Write the three reports of a study into its folder; equal files give equal bytes.

    Raises: RunError if the folder holds no study or cannot be written.
    """
    folder = Path(folder)
    study = read_study(folder)
    arms = read_arm_predictions(pooled_rows(study))
    before_after = before_after_tables(study, arms)
    if confusions := count_confusions(arms):
        write_text(folder / CONFUSIONS_CSV, confusion_csv(confusions))
    return ReportPaths(
        html=write_text(folder / REPORT_HTML, page_html(study, before_after)),
        json=write_json(folder / REPORT_JSON, report_values(study, task_name(study), before_after)),
        markdown=write_text(folder / REPORT_MD, report_markdown(study, question(study), before_after)),
    )
