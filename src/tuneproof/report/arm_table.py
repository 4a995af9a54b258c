"""The table of arms, for the terminal, the Markdown, the page and notebooks, and what its headers mean.

In: rows of arms. Out: a table of strings, terms with their meaning. Knows nothing of: HTML, drawing, files.
"""

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report import formatting, tables
from tuneproof.report.tables import ArmRow, Table

ON_DEV = " on dev"
STUDY_RATE = "Items/s (study)"
UNDONE = "Arms that are not done"
SOME_SEEDS = " (not all seeds)"
NOT_IN_TERMINAL = ("Seeds", "Parameters", STUDY_RATE)
CHOOSES = (
    "the {items} dev items, which choose checkpoints, settings, prompts and the best arm, and so flatter "
    "what they chose. Results are those on test."
)
DECIDES = (
    "the {items} test items, which decide only which arms are as good as the best on dev, with a {level} % "
    "confidence interval."
)
TRAINING_TIME = (
    "of one run, the mean of the seeds: with search, features of a frozen model and self-test, without "
    "loading and predicting. Baselines and heads predict in the same pass, so theirs includes it."
)
RATE = "while the study predicted dev and test, all of them at once."


def arm_table(study: StudyRecord, rows: list[ArmRow] | None = None) -> Table:
    """The table of arms as strings.

    `rows` are the arms with their seeds pooled (the default) or one per seed. An arm that is not done has its
    status in its score column; `undone_arms` has the reasons. Scores on dev stand beside those on test where
    they are known; the rate of the study stands where no arm was timed on its own.
    """
    rows, metric = tables.pooled_rows(study) if rows is None else rows, tables.main_metric(study)
    style = tables.column_style(rows, metric)
    title = tables.metric_title(metric, tables.positive_label(study))
    unit = style.unit.replace(" ", ", ")
    cells = []
    for row in rows:
        scores = (_test_score(study, row, style), tables.format_score(row.dev_scores.get(metric), style))
        parameters = (formatting.count(row.trainable), formatting.count(row.total))
        cost = (formatting.format_duration(row.training_s), formatting.memory(row.peak_memory_bytes))
        name, speed = formatting.show_hidden(row.marked_label), formatting.rate(row.items_per_s)
        cells.append((name, tables.format_seeds(row), *scores, *parameters, *cost, speed))
    scored = (f"{title} on test{unit}", f"{title}{ON_DEV}{unit}")
    header = ("Arm", "Seeds", *scored, "Trainable", "Parameters", "Training time", "Peak memory", STUDY_RATE)
    table = Table(header, tuple(cells), (False, False, False, False, True, True, True, True, True))
    needless = {STUDY_RATE} if any(_is_timed(row) for row in rows) else set()
    return table.without_columns(needless if any(row.dev_scores for row in rows) else needless | {scored[1]})


def _test_score(study: StudyRecord, row: ArmRow, style: formatting.NumberStyle) -> str:
    """The score on test with the overlap of a leaky split; that the arm or some of its seeds are not done."""
    if row.status != "done":
        return row.status
    share = tables.overlap_share(study)
    leaky = f" (overlap {formatting.format_percent(share)} %)" if share else ""
    score = tables.format_score(row.scores.get(tables.main_metric(study)), style)
    return score + leaky + (SOME_SEEDS if row.reason else "")


def undone_arms(study: StudyRecord) -> list[tuple[str, str]]:
    """Why arms, or some of their seeds, are not done: their names and the reasons."""
    rows = [row for row in tables.pooled_rows(study) if row.reason]
    return [
        (formatting.show_hidden(row.marked_label), formatting.show_hidden(f"{_status(row)}{row.reason}"))
        for row in rows
    ]


def _status(row: ArmRow) -> str:
    """The status, where the reason does not name that of each seed."""
    return f"{row.status}: " if row.status != "done" and len(row.records) == 1 else ""


def _is_timed(row: ArmRow) -> bool:
    """Whether the arm was timed in batches of the best size."""
    return any((record.about.get("serving") or {}).get("item_s") for record in row.records)


def terminal_columns(table: Table) -> list[int]:
    """The columns for which a terminal is wide enough."""
    names = enumerate(table.header)
    return [index for index, name in names if name not in NOT_IN_TERMINAL and ON_DEV not in name]


def arm_terms(study: StudyRecord, level: str) -> list[tuple[str, str]]:
    """What the headers of the table of arms mean; level: of the intervals, in percent."""
    table, sizes = arm_table(study), study.splits.get("sizes") or {}
    dev, test = (formatting.count(sizes.get(split)) for split in ("dev", "test"))
    meanings = [(name, CHOOSES.format(items=dev)) for name in table.header if ON_DEV in name]
    report = DECIDES.format(items=test, level=level)
    meanings = [(table.header[2], report), *meanings, ("Training time", TRAINING_TIME), (STUDY_RATE, RATE)]
    return [(name.partition(", %")[0], text) for name, text in meanings if name in table.header]
