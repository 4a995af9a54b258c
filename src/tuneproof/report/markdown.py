"""The report as Markdown, for a pull request or a message.

In: a study read back. Out: one string. Knows nothing of: HTML pages, files.
"""

import re
from collections.abc import Sequence

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report import tables
from tuneproof.report.arm_table import UNDONE, arm_table, arm_terms, undone_arms
from tuneproof.report.before_after import BeforeAfter
from tuneproof.report.costs import (
    break_even_note,
    break_even_table,
    cost_table,
    cost_terms,
    serving_terms,
    speed_of_serving,
)
from tuneproof.report.decisions import BY_DEV, decision_note, decision_table
from tuneproof.report.diagnoses import diagnosis_lines
from tuneproof.report.formatting import show_hidden
from tuneproof.report.further_tests import TITLE as FURTHER_TITLE
from tuneproof.report.further_tests import further_notes, further_table
from tuneproof.report.lookalikes import TITLE, lookalike_note, lookalike_table
from tuneproof.report.recommendation import recommend
from tuneproof.report.results import paired_differences
from tuneproof.report.sections import level, registration_notes

INTERVAL = r"\[[+−]?\d[\d.,+− ]*\](?!\s*[(\[:])"  # of numbers: no link, and plain to read
SPECIAL = r"[\\`*_\[\]{}|#~$]"
JOINER = "\u2060"  # keeps an address or a name from becoming a link or a mention


def escape(text: str) -> str:
    """Untrusted text as inert Markdown on one line, without markup, links or cell separators.

    What cannot be markup stays readable in the file: `p < 0.001`, `R&D`, `[1.2, 3.4]`.
    """
    text = " ".join(show_hidden(text).split())
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    text = re.sub(r"(https?|ftp)(?=://)|(www)(?=\.)|@(?=\w)", lambda m: m[0] + JOINER, text)
    text = re.sub(rf"({INTERVAL})|({SPECIAL})", lambda m: m[1] or f"\\{m[2]}", text)
    return re.sub(r"^(>+|[-+]+(?=\s|$)|\d+(?=[.)](?:\s|$)))", _inert_start, text)


def _inert_start(match: re.Match[str]) -> str:
    """The start of a list, a quotation or a rule, so that it is none."""
    start = match[1]
    return f"{start}\\" if start.isdigit() else "".join(f"\\{character}" for character in start)


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


def _terms(terms: Sequence[tuple[str, str]]) -> str:
    """What headers mean, below their table."""
    return "\n".join(f"- **{escape(name)}**: {escape(text)}" for name, text in terms)


def _costs(study: StudyRecord) -> list[str]:
    """What the arms cost, how fast they are, and from how many items each pays."""
    parts = []
    if costs := cost_table(study):
        parts += ["## Cost", markdown_table(costs), _terms(cost_terms(study))]
    if serving := speed_of_serving(study):
        parts += ["## Speed of serving", markdown_table(serving), _terms(serving_terms(study))]
    if pays := break_even_table(study):
        note = escape(break_even_note(study))
        parts += ["## From how many items an arm pays", markdown_table(pays), note]
    return parts


def _decisions(rows: Sequence[tables.ArmRow], positive: str) -> list[str]:
    """How probabilities became labels, where the recipe decides it."""
    table, note = decision_table(rows, positive), decision_note(rows)
    if table is None and not note:
        return []
    written = [markdown_table(table)] if table else []
    return ["## How probabilities become labels", *written, escape(f"{note} {BY_DEV}".strip())]


def _comparisons(study: StudyRecord) -> list[str]:
    """The claims, the other pairs, and what their headers mean."""
    compared = paired_differences(study, tables.main_metric(study))
    parts = []
    for title, table in compared["tables"]:
        parts += [f"### {title}", markdown_table(table)]
    return ["## Comparisons on the same test items", *parts, _terms(compared["terms"])] if parts else []


def report_markdown(study: StudyRecord, question: str, before_after: Sequence[BeforeAfter]) -> str:
    """The question, the verdict, before and after, the arms, the comparisons, the audit's warnings."""
    rows, positive = tables.pooled_rows(study), tables.positive_label(study)
    parts = [f"# {escape(question)}", f"**{escape(tables.headline(study))}**"]
    if advice := recommend(study):
        parts.append("\n".join(f"- **{title}.** {escape(text)}" for title, text in advice.lines))
    for table in before_after:
        notes = [*table.notes, "Only differences with an interval are tested."]
        parts += [f"## {escape(table.title)}", markdown_table(table.table())]
        parts.append(escape(" ".join(notes)))
    parts += ["## Arms", markdown_table(arm_table(study)), _terms(arm_terms(study, level(study)))]
    if undone := undone_arms(study):
        parts += [f"### {UNDONE}", _terms(undone)]
    parts += _decisions(rows, positive)
    parts += _costs(study)
    if diagnosed := diagnosis_lines(study):
        parts.append("\n".join(f"- {escape(line)}" for line in diagnosed))
    if tables.overlap_note(study):
        parts.append(f"> {escape(tables.overlap_note(study))}")
    if without := lookalike_table(study):
        parts += [f"## {TITLE}", escape(lookalike_note(study)), markdown_table(without)]
    parts += _further(study)
    parts += _comparisons(study)
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
