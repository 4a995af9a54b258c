"""The report as Markdown, for a pull request or a message.

In: a study read back. Out: one string. Knows nothing of: HTML pages, files.
"""

import re
from collections.abc import Sequence

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report.results import differences
from tuneproof.report.rounding import visible
from tuneproof.report.tables import (
    Table,
    arm_table,
    headline,
    main_metric,
    metric_names,
    metric_note,
    metric_title,
    overlap_note,
    pooled_rows,
)


def cell(text: str) -> str:
    """Text from anywhere as inert Markdown on one line: no markup, no link, no table cell ends."""
    text = " ".join(visible(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"(https?|ftp)(?=://)|(www)(?=\.)", lambda m: m[0] + "\u2060", text)
    return re.sub(r"([\\`*_\[\]{}|#~$])", r"\\\1", text)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def markdown_table(table: Table) -> str:
    """A table in the GitHub flavour, numbers to the right."""
    rule = ["--:" if number else ":--" for number in table.numeric]
    lines = [_line([cell(name) for name in table.header]), _line(rule)]
    return "\n".join([*lines, *(_line([cell(text) for text in row]) for row in table.rows)])


def report_markdown(study: StudyRecord, question: str) -> str:
    """Question, verdict, table of arms, comparisons, warnings of the audit."""
    rows = pooled_rows(study)
    parts = [f"# {cell(question)}", f"**{cell(headline(study))}**", markdown_table(arm_table(study))]
    if overlap_note(study):
        parts.append(f"> {cell(overlap_note(study))}")
    compared = differences(study, main_metric(study))["table"]
    if compared.rows:
        parts += ["## Comparisons on the same test items", markdown_table(compared)]
    names = [name for name in metric_names(rows) if metric_note(name)]
    notes = [f"{metric_title(name)}: {metric_note(name)}." for name in names]
    notes += study.comparisons.get("not_computed") or []
    findings = [
        f"{one.get('level')}: {one.get('message')}"
        for one in study.audit.get("findings") or []
        if one.get("level") != "note"
    ]
    for title, lines in (("Audit", findings), ("Notes", notes)):
        if lines:
            parts += [f"## {title}", "\n".join(f"- {cell(line)}" for line in dict.fromkeys(lines))]
    return "\n\n".join(parts) + "\n"
