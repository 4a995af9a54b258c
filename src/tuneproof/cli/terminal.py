"""What the terminal shows: progress, tables, plans.

In: events and plain values. Out: text, in colour on a terminal, plain when piped.
Knows nothing of: how anything is computed.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tuneproof.context.monitor import ArmFinished, ArmStarted, Event, Progress, StageStarted, StudyFinished
from tuneproof.redact import json_text, printable, printable_json

SIGNS = {"done": "✓", "skipped": "=", "failed": "✗", "impossible": "–"}
STATES = {"fine": ("✓", "green"), "note": ("–", "dim"), "problem": ("!", "yellow"), "broken": ("✗", "red")}
TERMINAL_COLUMNS = (0, 2, 3, 5, 6)  # arm, score, trainable, time, peak memory
COLOURS = {"done": "green", "skipped": "cyan", "failed": "red", "impossible": "yellow"}


def clean(text: str) -> str:
    """Escape markup, and make control and direction characters visible."""
    return escape(printable(text).replace("\n", "\\n"))


class TerminalView:
    """Shows a study's events: on a terminal a bar for each stage, everywhere a line for each arm.

    finished: the study's last event, once it came. It is a context: the bar lives inside.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False, as_json: bool = False) -> None:
        from rich import progress

        self.console = Console(stderr=as_json, soft_wrap=True)
        self.quiet, self.verbose, self.as_json = quiet or as_json, verbose, as_json
        self.bars = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeRemainingColumn(compact=True),
            progress.TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=self.quiet or not self.console.is_terminal,
        )
        self.task: Any = None
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
        elif isinstance(event, ArmStarted):
            self.arm = f"{event.number}/{event.total} {event.label}"
        elif isinstance(event, ArmFinished):
            self._finish_arm(event)
        elif isinstance(event, StudyFinished):
            self.finished = event
        elif not self.quiet and (self.verbose or event.level != "detail"):
            colour = "yellow" if event.level == "warning" else "dim"
            self.console.print(f"  {clean(event.text)}", style=colour, highlight=False)

    def print_result(self) -> None:
        """The table of arms, the verdict and the report's path; or report.json."""
        assert self.finished is not None
        folder = Path(self.finished.folder)
        if self.as_json:
            from tuneproof.record.study_folder import REPORT_JSON

            print(printable_json((folder / REPORT_JSON).read_text("utf-8")), end="")
            return
        print_study(folder, self.console)
        self.console.print(f"Report: {clean(self.finished.report)}", highlight=False)

    def _start_stage(self, event: StageStarted) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
        title = clean(f"{self.arm} · {event.name}" if self.arm else event.name)
        fields: dict[str, Any] = {"note": "", "rate": "", "unit": event.unit, "started_at": event.done}
        self.task = self.bars.add_task(title, total=event.total, completed=event.done, **fields)

    def _advance(self, event: Progress) -> None:
        if self.task is None:
            return
        self.bars.update(self.task, advance=event.done, note=clean(event.note))
        task = next((task for task in self.bars.tasks if task.id == self.task), None)
        if task is not None and task.elapsed and task.elapsed > 0.5:
            done = task.completed - task.fields["started_at"]
            rate = f"{done / task.elapsed:,.1f} {task.fields['unit']}/s"
            self.bars.update(self.task, rate=rate)

    def _finish_arm(self, event: ArmFinished) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None
        if not self.quiet:
            seconds = f"{event.time_s:6.1f} s" if event.time_s else "        "
            self.console.print(
                f"[{COLOURS[event.status]}]{SIGNS[event.status]}[/] {seconds}  "
                f"[bold]{clean(event.label)}[/]  {clean(event.line)}",
                highlight=False,
            )


def print_study(folder: Path, console: Console) -> None:
    """Print the table of arms and the verdict."""
    from tuneproof.record.study_folder import read_study
    from tuneproof.report.tables import arm_table, headline

    study = read_study(folder)
    arms = arm_table(study)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in TERMINAL_COLUMNS:
        side: Any = "right" if arms.numeric[column] else "left"
        table.add_column(arms.header[column], justify=side, no_wrap=True)
    for row in arms.rows:
        table.add_row(*(clean(row[column].partition(":")[0]) for column in TERMINAL_COLUMNS))
    console.print()
    console.print(table)
    console.print()
    console.print(clean(headline(study)), style="bold", highlight=False)


def print_plan(plan: Any, as_json: bool) -> None:
    """Print what a run would do: items, findings, arms, and the checks skipped without the hub."""
    report = plan.splits.report if plan.splits else {"sizes": {}, "dropped": {}}
    if as_json:
        print(json_text(_plan_values(plan, report)))
        return
    console = Console(soft_wrap=True)

    def show(title: str, text: str, style: str | None = None) -> None:
        console.print(f"[bold]{title.ljust(8)}[/]{clean(text)}", style=style, highlight=False)

    for title, text in _item_lines(plan.splits, report):
        show(title, text)
    for finding in plan.findings:
        show("", finding.message, "yellow" if finding.level == "warning" else "dim")
    for spec in plan.models:
        show("Model", f"{spec.name}: {spec.family.name} {spec.family.kind}. {' '.join(spec.notes)}".rstrip())
    for title, text in _arm_lines(plan):
        show(title, text)
    show("Folder", str(plan.folder))
    if plan.skipped:
        needed = "`run` needs the hub, or local files for the task (task.path) and the models."
        show("Hub", f"not reachable: {len(plan.skipped)} checks skipped. {needed}", "yellow")
    for line in plan.skipped:
        show("", f"skipped: {line}", "yellow")


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
    for run in plan.arms:
        yield (
            "Arm",
            f"{run.label}: {f'impossible: {run.impossible}' if run.impossible else run.arm.method.title}",
        )
    for claim in plan.recipe.claims:
        yield "Claim", f"{claim.arm} over {claim.over}, by {claim.metric or plan.recipe.task.metrics[0]}"


def _plan_values(plan: Any, report: dict[str, Any]) -> dict[str, Any]:
    """The plan as plain values."""
    return {
        "sizes": report["sizes"],
        "dropped": report["dropped"],
        "arms": [
            {
                "arm": run.arm.name,
                "model": run.spec.name if run.spec else None,
                "seed": run.seed,
                "impossible": run.impossible,
            }
            for run in plan.arms
        ],
        "findings": [{"level": finding.level, "message": finding.message} for finding in plan.findings],
        "folder": str(plan.folder),
        "skipped": list(plan.skipped),
    }


def print_count(count: Any, as_json: bool) -> None:
    """Print the architecture, the parameters by group, and the ledger of the adaptation."""
    if as_json:
        print(json_text(count.as_json()))
        return
    from tuneproof.parameters.text import adaptation_lines, architecture_lines, parameter_lines

    console = Console(soft_wrap=True)
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
        print(json_text(list(comparisons)))
        return
    for comparison in comparisons:
        print(printable(comparison["sentence"]))


def print_published(result: Any, as_json: bool) -> None:
    """Print the result of the check in a fresh process, and where the arm is now."""
    gate, upload = result.gate, result.upload
    if as_json:
        folder = {"folder": None if result.folder is None else str(result.folder)}
        print(json_text({**vars(gate), **folder, **(vars(upload) if upload else {})}))
        return
    merged = "" if gate.merged is None else f"; merged against adapter {gate.merged:.0e}"
    print(
        f"Loaded in a fresh process: {gate.items} test items give the same predictions as in the study "
        f"(largest difference {gate.difference:.0e} {gate.unit}{merged})."
    )
    if upload is None:
        print(printable(str(result.folder)))
        return
    removed = f", {upload.removed} removed" if upload.removed else ""
    print(
        printable(
            f"{upload.url}: {upload.uploaded} files uploaded{removed} and verified; commit {upload.commit}."
        )
    )


def print_doctor(checks: Any, as_json: bool) -> None:
    """Print one line per check, and the fix below it."""
    if as_json:
        print(json_text([check.as_json() for check in checks]))
        return
    console = Console(soft_wrap=True)
    width = max(len(check.name) for check in checks)
    for check in checks:
        sign, colour = STATES[check.state]
        console.print(
            f"[{colour}]{sign}[/] {check.name.ljust(width)}  {clean(check.detail)}", highlight=False
        )
        if check.fix:
            console.print(f"  {' ' * width}  {clean(check.fix)}", style="bold", highlight=False)


def print_memory(table: Any, as_json: bool) -> None:
    """Print the predicted peaks as a table, and what fits in sentences."""
    from tuneproof.memory.text import table_rows, table_sentences

    if as_json:
        print(json_text(table.as_json()))
        return
    console = Console(soft_wrap=True)
    first, *rest = table_sentences(table)
    console.print(clean(first), highlight=False)
    header, rows = table_rows(table)
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        console.print(clean("  ".join(cells)), highlight=False, style="bold" if row is header else None)
    for line in rest:
        console.print(clean(line), highlight=False)
