"""The report of a study: one page, one JSON file, one Markdown file, from the study's files alone.

In: a study's directory. Out: report.html, report.json, report.md in it.
Knows nothing of: models, torch, how anything was computed.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tuneproof.atomic import write_json, write_text
from tuneproof.record.study_folder import REPORT_HTML, REPORT_JSON, REPORT_MD, StudyRecord, read_study
from tuneproof.report.charts.forest import colour
from tuneproof.report.markdown import report_markdown
from tuneproof.report.report_json import report_values
from tuneproof.report.rounding import MINUS, Style, count, plain, style_for, visible
from tuneproof.report.sections import question, sections, task_name
from tuneproof.report.tables import headline, overlap_note

HERE = Path(__file__).parent
OUTCOMES = {"better": "better", "worse": "worse"}


@dataclass(frozen=True)
class Reports:
    """Where the report was written."""

    html: Path
    json: Path
    markdown: Path


def inline_json(value: Any) -> Markup:
    """JSON that can stand inside a script element: nothing in it ends the element or a line."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def _shown(value: Any) -> Any:
    """What every value goes through on its way to the page: hidden characters become visible."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _say(example: Any) -> str:
    """An example of the audit in words, whatever its shape."""
    if isinstance(example, dict):
        return "; ".join(f"{key}: {value}" for key, value in example.items())
    if isinstance(example, list):
        return " · ".join(str(one) for one in example)
    return str(example)


def _signed(value: Any) -> str:
    shown = count(value)
    return shown if shown.startswith(MINUS) or not value else f"+{shown}"


def environment() -> Any:
    """Jinja's, with everything escaped and hidden characters shown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )


def styles() -> Markup:
    """The style sheet of every page."""
    return Markup((HERE / "page.css").read_text("utf-8"))


def page(study: StudyRecord) -> str:
    """The page as one string: no file and no address outside it is asked for."""
    script = (HERE / "page.js").read_text("utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = sections(study)
    outcome = str((study.comparisons.get("verdict") or {}).get("outcome") or "")
    note = overlap_note(study)
    said = headline(study).removesuffix(note).strip()
    lead, *rest = re.split(r"(?<=[.!?]) (?=[A-Z])", said, maxsplit=1)
    return (
        environment()
        .get_template("page.html")
        .render(
            **parts,
            verdict=lead.replace(" %", "\u00a0%"),  # a number and its unit stay on one line
            verdict_rest=" ".join(rest).replace(" %", "\u00a0%"),
            overlap=note,
            outcome_class=OUTCOMES.get(outcome, "unsure"),
            css=styles(),
            js=Markup(script),
            script_hash=f"sha256-{digest}",
            data=inline_json(parts["payload"]),
            colour=colour,
            count=count,
            signed=_signed,
            say=_say,
            style_for=style_for,
            share=Style(),
            plain=plain,
            sliced="F1 in %" if parts["questions"] else "Accuracy in %",
        )
    )


def render(folder: Path) -> Reports:
    """Write the three reports of a study into its folder; the same files give the same bytes.

    Raises: RunError where the folder holds no study or cannot be written.
    """
    folder = Path(folder)
    study = read_study(folder)
    return Reports(
        html=write_text(folder / REPORT_HTML, page(study)),
        json=write_json(folder / REPORT_JSON, report_values(study, task_name(study))),
        markdown=write_text(folder / REPORT_MD, report_markdown(study, question(study))),
    )
