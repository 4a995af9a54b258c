"""The report as Markdown, for a pull request or a message.

In: a study read back. Out: one string. Knows nothing of: HTML pages, files.
"""

import re
from collections.abc import Sequence

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report import tables
from tuneproof.report.before_after import BeforeAfter
from tuneproof.report.costs import BREAK_EVEN_NOTE, NOTE, break_even_table, cost_table
from tuneproof.report.diagnoses import diagnosis_lines
from tuneproof.report.formatting import show_hidden
from tuneproof.report.further_tests import TITLE as FURTHER_TITLE
from tuneproof.report.further_tests import further_notes, further_table
from tuneproof.report.lookalikes import TITLE, lookalike_note, lookalike_table
from tuneproof.report.recommendation import recommend
from tuneproof.report.results import paired_differences
from tuneproof.report.sections import registration_notes


def escape(text: str) -> str:
    """Untrusted text as inert Markdown on one line, without markup, links or cell separators."""
    text = " ".join(show_hidden(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"(https?|ftp)(?=://)|(www)(?=\.)", lambda m: m[0] + "\u2060", text)
    return re.sub(r"([\\`*_\[\]{}|#~$])", r"\\\1", text)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def markdown_table(table: tables.Table) -> str:
    """A table in GitHub-flavoured Markdown, numbers right-aligned."""
    rule = ["--:" if number else ":--" for number in table.numeric]
    lines = [_line([escape(name) for name in table.header]), _line(rule)]
    return "\n".join([*lines, *(_line([escape(text) for text in row]) for row in table.rows)])


def _further(study: StudyRecord) -> list[str]:
    """The scores on further test sets."""
    further = further_table(study)
    if further is None:
        return []
    notes = "\n".join(f"- {escape(line)}" for line in further_notes(study))
    return [f"## {FURTHER_TITLE}", markdown_table(further), notes]


def report_markdown(study: StudyRecord, question: str, before_after: Sequence[BeforeAfter]) -> str:
    """The question, the verdict, before and after, the arms, the comparisons, the audit's warnings."""
    rows, positive = tables.pooled_rows(study), tables.positive_label(study)
    parts = [f"# {escape(question)}", f"**{escape(tables.headline(study))}**"]
    if advice := recommend(study):
        parts.append("\n".join(f"- **{title}.** {escape(text)}" for title, text in advice.lines))
    for table in before_after:
        notes = [*table.notes, "Only differences with an interval are tested."]
        parts += [f"## Before → after: {escape(table.model)}", markdown_table(table.table())]
        parts.append(escape(" ".join(notes)))
    parts += ["## Arms", markdown_table(tables.arm_table(study))]
    if costs := cost_table(study):
        parts += ["## Cost", markdown_table(costs), NOTE]
    if pays := break_even_table(study):
        parts += ["## From how many items an arm pays", markdown_table(pays), BREAK_EVEN_NOTE]
    if diagnosed := diagnosis_lines(study):
        parts.append("\n".join(f"- {escape(line)}" for line in diagnosed))
    if tables.overlap_note(study):
        parts.append(f"> {escape(tables.overlap_note(study))}")
    if without := lookalike_table(study):
        parts += [f"## {TITLE}", escape(lookalike_note(study)), markdown_table(without)]
    parts += _further(study)
    compared = paired_differences(study, tables.main_metric(study))["table"]
    if compared.rows:
        parts += ["## Comparisons on the same test items", markdown_table(compared)]
    notes = [*tables.metric_notes(rows, positive), *(study.comparisons.get("not_computed") or [])]
    notes += registration_notes(study)
    findings = [
        f"{finding.get('level')}: {finding.get('message')}"
        for finding in study.audit.get("findings") or []
        if finding.get("level") != "note"
    ]
    for title, lines in (("Audit", findings), ("Notes", notes)):
        if lines:
            parts += [f"## {title}", "\n".join(f"- {escape(line)}" for line in dict.fromkeys(lines))]
    return "\n\n".join(parts) + "\n"
