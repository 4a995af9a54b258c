"""What the terminal shows: progress, tables, plans.

In: events and plain values. Out: text, in colour on a terminal, plain when piped.
Knows nothing of: how anything is computed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tuneproof.cli.console import open_console
from tuneproof.cli.json_output import print_json
from tuneproof.cli.settings_table import changed_lines, changed_values
from tuneproof.context.monitor import (
    ArmFinished,
    ArmStarted,
    Event,
    Message,
    Progress,
    StageStarted,
    StudyFinished,
    StudyForecast,
)
from tuneproof.context.time_left import TimeLeft, about
from tuneproof.redact import printable

SIGNS = {"done": "✓", "skipped": "=", "failed": "✗", "impossible": "–"}
COLOURS = {"done": "green", "skipped": "cyan", "failed": "red", "impossible": "yellow"}


def clean(text: str) -> str:
    """Escape markup, and make control and direction characters visible."""
    return escape(printable(text).replace("\n", "\\n"))


class TerminalView:
    """Shows a study's events: a line for each arm; on a terminal a bar of the study and one of the stage.

    finished: the study's last event, once it came. It is a context: the bars live inside.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False, as_json: bool = False) -> None:
        from rich import progress

        self.console = open_console(stderr=as_json)
        self.quiet, self.verbose, self.as_json = quiet or as_json, verbose, as_json
        self.bars = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            *(progress.TextColumn(f"{{task.fields[{name}]}}") for name in ("count", "rate", "left", "note")),
            console=self.console,
            transient=True,
            disable=self.quiet or not self.console.is_terminal,
        )
        self.task: Any = None
        self.study_task: Any = None
        self.time_left: TimeLeft | None = None
        self.arm = ""
        self.finished: StudyFinished | None = None

    def __enter__(self) -> "TerminalView":
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def show(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, StageStarted):
            self._start_stage(event)
        elif isinstance(event, Progress):
            self._advance(event)
        elif isinstance(event, StudyForecast):
            self._start_study(event)
        elif isinstance(event, ArmStarted):
            self._start_arm(event)
        elif isinstance(event, ArmFinished):
            self._finish_arm(event)
        elif isinstance(event, StudyFinished):
            self.finished = event
        else:
            self._print_message(event)

    def print_result(self, more: Mapping[str, Any]) -> None:
        """The table of arms, the verdict and the report's path; or report.json, with `more` keys."""
        assert self.finished is not None
        folder = Path(self.finished.folder)
        if self.as_json:
            from tuneproof.atomic import read_json
            from tuneproof.record.study_folder import REPORT_JSON

            print_json({**read_json(folder / REPORT_JSON), **more})
            return
        print_study(folder, self.console)
        self.console.print(f"Report: {clean(self.finished.report)}", highlight=False)

    def _print_message(self, event: Message) -> None:
        if not self.quiet and (self.verbose or event.level != "detail"):
            colour = "yellow" if event.level == "warning" else "dim"
            self.console.print(f"  {clean(event.text)}", style=colour, highlight=False)

    def _start_study(self, event: StudyForecast) -> None:
        self.time_left = TimeLeft(event.predicted_s)
        if not self.quiet:
            self.console.print(clean(event.sentence), highlight=False)
        self.study_task = self.bars.add_task("study", total=1.0, count="", rate="", left="", note="")

    def _start_arm(self, event: ArmStarted) -> None:
        self.arm = f"{event.number}/{event.total} {event.label}"
        if self.time_left is not None:
            self.time_left.start_arm(event.label)

    def _start_stage(self, event: StageStarted) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
        title = clean(f"{self.arm} · {event.name}" if self.arm else event.name)
        fields: dict[str, Any] = {"note": "", "rate": "", "unit": event.unit, "started_at": event.done}
        count = "" if event.total is None else f"{event.done}/{event.total}"
        self.task = self.bars.add_task(
            title, total=event.total, completed=event.done, count=count, left="", **fields
        )
        if self.time_left is not None:
            self.time_left.start_stage()
            self._show_time_left()

    def _advance(self, event: Progress) -> None:
        if self.task is None:
            return
        self.bars.update(self.task, advance=event.done, note=clean(event.note))
        task = next((task for task in self.bars.tasks if task.id == self.task), None)
        if task is None:
            return
        done = task.completed - task.fields["started_at"]
        self.bars.update(self.task, **_stage_fields(task, done))
        if self.time_left is not None and task.total:
            self.time_left.stage_share = done / max(1, task.total - task.fields["started_at"])
            self._show_time_left()

    def _show_time_left(self) -> None:
        """The bar of the study."""
        if self.time_left is not None and self.study_task is not None:
            share, left = self.time_left.done_share(), f"{about(self.time_left.left_s())} left"
            self.bars.update(self.study_task, completed=share, count=f"{share:.0%}", left=left)

    def _finish_arm(self, event: ArmFinished) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None
        left = ""
        if self.time_left is not None:
            self.time_left.finish_arm(event.label, event.time_s)
            self._show_time_left()
            seconds_left = self.time_left.left_s()
            left = f"  ({about(seconds_left)} left)" if seconds_left and not self.console.is_terminal else ""
        if not self.quiet:
            seconds = f"{event.time_s:6.1f} s" if event.time_s else "        "
            self.console.print(
                f"[{COLOURS[event.status]}]{SIGNS[event.status]}[/] {seconds}  "
                f"[bold]{clean(event.label)}[/]  {clean(event.line)}{left}",
                highlight=False,
            )


def _stage_fields(task: Any, done: float) -> dict[str, Any]:
    """What the bar of a stage says after `done` units: how many, and after half a second how fast."""
    count = f"{task.completed:.0f}/{task.total:.0f}" if task.total else f"{task.completed:.0f}"
    if not task.elapsed or task.elapsed < 0.5:
        return {"count": count}
    left = about(task.time_remaining) if task.time_remaining else ""
    return {"count": count, "rate": f"{done / task.elapsed:,.1f} {task.fields['unit']}/s", "left": left}


def print_study(folder: Path, console: Console) -> None:
    """Print the table of arms and the verdict."""
    from tuneproof.record.study_folder import read_study
    from tuneproof.report.arm_table import arm_table, terminal_columns
    from tuneproof.report.diagnoses import diagnosis_lines
    from tuneproof.report.further_tests import further_table
    from tuneproof.report.recommendation import recommend
    from tuneproof.report.tables import headline

    study = read_study(folder)
    arms = arm_table(study)
    columns = terminal_columns(arms)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        side: Any = "right" if arms.numeric[column] else "left"
        table.add_column(arms.header[column], justify=side, no_wrap=True)
    for row in arms.rows:
        table.add_row(*(clean(row[column]) for column in columns))
    console.print()
    console.print(table)
    if further := further_table(study):
        console.print()
        print_table(console, (further.header, *further.rows), texts=1)
    for line in diagnosis_lines(study):
        console.print(clean(line), style="yellow", highlight=False)
    console.print()
    console.print(clean(headline(study)), style="bold", highlight=False)
    if advice := recommend(study):
        console.print()
        for title, text in advice.lines:
            colon = "" if title == advice.lines[0][0] else ":"
            console.print(f"[bold]{clean(title)}{colon}[/] {clean(text)}", highlight=False)


def print_plan(plan: Any, make_forecast: Callable[[], Any] | None, as_json: bool) -> None:
    """Print what a run would do: items, findings, arms, the checks skipped without the hub; then its cost.

    make_forecast: takes seconds; None comes from it where it needs what only the hub has. None: no cost.
    """
    report = plan.splits.report if plan.splits else {"sizes": {}, "dropped": {}}
    if as_json:
        forecast = make_forecast() if make_forecast is not None else None
        costs = {"forecast": forecast and {**forecast.as_json(), "notes": list(forecast.notes)}}
        print_json({**_plan_values(plan, report), **costs})
        return
    console = open_console()

    def show(title: str, text: str, style: str | None = None) -> None:
        console.print(f"[bold]{title.ljust(8)}[/]{clean(text)}", style=style, highlight=False)

    for title, text, style in _plan_lines(plan, report):
        show(title, text, style)
    for title, text, style in _cost_lines(make_forecast()) if make_forecast is not None else ():
        show(title, text, style)


def _plan_lines(plan: Any, report: dict[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """Items, findings, models, arms, folder, and what was skipped without the hub."""
    for title, text in _item_lines(plan.splits, report):
        yield title, text, None
    for finding in plan.findings:
        yield "", finding.message, "yellow" if finding.level == "warning" else "dim"
    for spec in plan.models:
        notes = " ".join(spec.notes)
        yield "Model", f"{spec.name}: {spec.family.name} {spec.family.kind}. {notes}".rstrip(), None
    for title, text in _arm_lines(plan):
        yield title, text, None
    for title, text in changed_lines(plan.recipe):
        yield title, text, None
    yield "Folder", str(plan.folder), None
    if plan.skipped:
        needed = "`run` needs the hub, or local files for the task (task.path) and the models."
        yield "Hub", f"not reachable: {len(plan.skipped)} checks skipped. {needed}", "yellow"
    for line in plan.skipped:
        yield "", f"skipped: {line}", "yellow"


def _item_lines(splits: Any, report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The size of every part, and the rows that were dropped."""
    if splits is None:
        yield "Items", "not read: they are on the hub"
    else:
        sizes = ", ".join(f"{name} {size:,}" for name, size in report["sizes"].items())
        yield "Items", f"{sizes}; labels {', '.join(splits.labels)}"
    for reason, count in report["dropped"].items():
        yield "", f"{count:,} dropped: {reason}"


def _arm_lines(plan: Any) -> Iterator[tuple[str, str]]:
    """What every arm does, and what the study claims."""
    from tuneproof.study.arm_runs import tuning_text

    for run in plan.arms:
        title, tuning = run.arm.method.title, tuning_text(run, plan.recipe)
        text = f"{title}, {tuning}" if tuning else title
        yield "Arm", f"{run.label}: {f'impossible: {run.impossible}' if run.impossible else text}"
    for claim in plan.recipe.claims:
        yield "Claim", f"{claim.arm} over {claim.over}, by {claim.metric or plan.recipe.task.metrics[0]}"


def _cost_lines(forecast: Any) -> Iterator[tuple[str, str, str | None]]:
    """What the study costs, what each arm adds, and what is not known."""
    if forecast is None:
        yield "Cost", "cannot be predicted without the items and the models' files", "yellow"
        return
    yield "Cost", forecast.sentence, None
    for line in forecast.lines():
        yield "", line, None
    for note in forecast.notes:
        yield "", note, "yellow"


def _plan_values(plan: Any, report: dict[str, Any]) -> dict[str, Any]:
    """The plan as plain values."""
    return {
        "sizes": report["sizes"],
        "labels": report.get("labels", {}),
        "dropped": report["dropped"],
        "arms": [
            {
                "arm": run.arm.name,
                "model": run.spec.name if run.spec else None,
                "seed": run.seed,
                "impossible": run.impossible,
                "learning_rate": getattr(run.arm.options, "learning_rate", None),
                "search": dict(run.search.values) if run.search else None,
            }
            for run in plan.arms
        ],
        "changed_settings": changed_values(plan.recipe),
        "findings": [{"level": finding.level, "message": finding.message} for finding in plan.findings],
        "folder": str(plan.folder),
        "skipped": list(plan.skipped),
    }


def print_count(count: Any, as_json: bool) -> None:
    """Print the architecture, the parameters by group, and the ledger of the adaptation."""
    if as_json:
        print_json(count.as_json())
        return
    from tuneproof.parameters.text import adaptation_lines, architecture_lines, parameter_lines

    console = open_console()
    console.print(f"[bold]{clean(count.model)}[/]  configuration: {clean(count.origin)}", highlight=False)
    for title, lines in (
        ("Architecture", architecture_lines(count)),
        ("Parameters", parameter_lines(count)),
        *((title, lines) for title, lines in adaptation_lines(count)),
    ):
        console.print(f"\n[bold]{clean(title)}[/]", highlight=False)
        for line in lines:
            console.print(f"  {clean(line)}", highlight=False)
    for note in count.notes:
        console.print(f"  {clean(note)}", style="dim", highlight=False)


def print_comparisons(comparisons: Iterable[dict[str, Any]], as_json: bool) -> None:
    """Print comparisons as sentences, or as JSON."""
    if as_json:
        print_json({"comparisons": list(comparisons)})
        return
    for comparison in comparisons:
        print(printable(comparison["sentence"]))


def print_memory(table: Any, as_json: bool) -> None:
    """Print the predicted peaks as a table, and what fits in sentences."""
    from tuneproof.memory.text import table_rows, table_sentences

    if as_json:
        print_json(table.as_json())
        return
    console = open_console()
    first, *rest = table_sentences(table)
    console.print(clean(first), highlight=False)
    header, rows = table_rows(table)
    print_table(console, (header, *rows), texts=2)
    for line in rest:
        console.print(clean(line), highlight=False)


def print_table(console: Console, rows: Sequence[Sequence[str]], texts: int) -> None:
    """Print rows, the first of which is the header; all columns but the first `texts` are aligned right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if column < texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        console.print(clean("  ".join(cells)), highlight=False, style="bold" if row is rows[0] else None)
