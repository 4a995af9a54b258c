"""What a person sees in the terminal: progress, tables, shelves.

In: events and plain values. Out: text, in colour on a terminal, plain when piped.
Knows nothing of: how anything was computed.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tuneproof.context.monitor import Advanced, ArmBegun, ArmEnded, Event, Said, StageBegun, StudyEnded
from tuneproof.errors import StoppedError, TuneproofError
from tuneproof.process_group import present
from tuneproof.recipe.recipe import Recipe
from tuneproof.redact import json_text, printable, printable_json

SIGNS = {"done": "✓", "skipped": "=", "failed": "✗", "impossible": "–"}
STATES = {"fine": ("✓", "green"), "note": ("–", "dim"), "problem": ("!", "yellow"), "broken": ("✗", "red")}
TERMINAL_COLUMNS = (0, 2, 3, 5, 6)  # arm, score, trainable, time, peak memory
COLOURS = {"done": "green", "skipped": "cyan", "failed": "red", "impossible": "yellow"}


def clean(text: str) -> str:
    """Control and direction characters as visible escapes, and no markup."""
    return escape(printable(text).replace("\n", "\\n"))


class Follower:
    """Shows events as they come: a bar a stage on a terminal, a line an arm everywhere."""

    def __init__(self, console: Console, quiet: bool) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self.console, self.quiet = console, quiet
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self.task: Any = None
        self.arm = ""

    def see(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, StageBegun):
            self._stage(event)
        elif isinstance(event, Advanced):
            self._advance(event)
        elif isinstance(event, ArmBegun):
            self.arm = f"{event.place}/{event.of} {event.label}"
        elif isinstance(event, ArmEnded):
            self._ended(event)
        elif isinstance(event, Said) and not self.quiet:
            colour = "yellow" if event.level != "note" else "dim"
            self.console.print(f"  {clean(event.text)}", style=colour, highlight=False)

    def _stage(self, event: StageBegun) -> None:
        if self.task is not None:
            self.progress.remove_task(self.task)
        title = clean(f"{self.arm} · {event.name}" if self.arm else event.name)
        self.task = self.progress.add_task(
            title,
            total=event.total,
            completed=event.done,
            note="",
            rate="",
            unit=event.unit,
            begun=event.done,
        )

    def _advance(self, event: Advanced) -> None:
        if self.task is None:
            return
        self.progress.update(self.task, advance=event.done, note=clean(event.note))
        task = next((t for t in self.progress.tasks if t.id == self.task), None)
        if task is not None and task.elapsed and task.elapsed > 0.5:
            done = task.completed - task.fields["begun"]
            rate = f"{done / task.elapsed:,.1f} {task.fields['unit']}/s"
            self.progress.update(self.task, rate=rate)

    def _ended(self, event: ArmEnded) -> None:
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.task = None
        if not self.quiet:
            seconds = f"{event.time_s:6.1f} s" if event.time_s else "        "
            self.console.print(
                f"[{COLOURS[event.status]}]{SIGNS[event.status]}[/] {seconds}  "
                f"[bold]{clean(event.label)}[/]  {clean(event.line)}",
                highlight=False,
            )


def follow(
    recipe: Recipe, command: str, quiet: bool, as_json: bool, change: Any = None, on: str = "here"
) -> int:
    """Run the study and show it; returns the exit code.

    change: arms to begin again, or differences to accept (see `Change`). on: as `events_of`.
    """
    from tuneproof.record.study_folder import REPORT_JSON
    from tuneproof.study.run import NO_CHANGE
    from tuneproof.study.signals import listening, until_asked
    from tuneproof.study.study import events_of

    console = Console(stderr=as_json, soft_wrap=True)
    follower = Follower(console, quiet or as_json)
    ended: StudyEnded | None = None
    failure: TuneproofError | None = None
    with follower.progress, listening() as asked:
        try:
            for event in until_asked(events_of(recipe, command, change or NO_CHANGE, on), asked, command):
                follower.see(event)
                if isinstance(event, StudyEnded):
                    ended = event
        except TuneproofError as error:
            if isinstance(error, StoppedError) and not present().leads:
                return error.exit_code  # the leading process says it
            failure = error
            if ended is None:
                raise
        except KeyboardInterrupt:
            raise asked.error(command) from None
    if not present().leads:
        return 0
    assert ended is not None
    if as_json:
        print(printable_json((Path(ended.folder) / REPORT_JSON).read_text("utf-8")), end="")
    else:
        print_study(Path(ended.folder), console)
        console.print(f"Report: {clean(ended.report)}", highlight=False)
    if failure is not None:
        raise failure
    return 0


def print_study(folder: Path, console: Console) -> None:
    """The table of arms and the verdict."""
    from tuneproof.record.study_folder import read_study
    from tuneproof.report.tables import arm_table, headline

    study = read_study(folder)
    found = arm_table(study)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place in TERMINAL_COLUMNS:
        table.add_column(
            found.header[place], justify="right" if found.numeric[place] else "left", no_wrap=True
        )
    for row in found.rows:
        table.add_row(*(clean(row[place].partition(":")[0]) for place in TERMINAL_COLUMNS))
    console.print()
    console.print(table)
    console.print()
    console.print(clean(headline(study)), style="bold", highlight=False)


def print_plan(plan: Any, as_json: bool) -> None:
    """What would happen: items, findings, arms; of an Outlook what was skipped, with its count."""
    report = plan.splits.report if plan.splits else {"sizes": {}, "dropped": {}}
    skipped = list(getattr(plan, "skipped", []))
    arms = [
        {
            "arm": work.arm.name,
            "model": work.ready.name if work.ready else None,
            "seed": work.seed,
            "impossible": work.impossible,
        }
        for work in plan.works
    ]
    findings = [{"level": f.level, "message": f.message} for f in plan.findings]
    if as_json:
        values = {
            "sizes": report["sizes"],
            "dropped": report["dropped"],
            "arms": arms,
            "findings": findings,
            "folder": str(plan.folder),
            "skipped": skipped,
        }
        print(json_text(values))
        return
    console = Console(soft_wrap=True)
    if plan.splits is None:
        console.print("[bold]Items[/]   not read: they are the hub's", highlight=False)
    else:
        sizes = ", ".join(f"{name} {size:,}" for name, size in report["sizes"].items())
        labels = clean(", ".join(plan.splits.labels))
        console.print(f"[bold]Items[/]   {sizes}; labels {labels}", highlight=False)
    for reason, count in report["dropped"].items():
        console.print(f"        {count:,} dropped: {clean(str(reason))}", highlight=False)
    for finding in findings:
        style = "yellow" if finding["level"] == "warning" else "dim"
        console.print(f"        {clean(finding['message'])}", style=style, highlight=False)
    for ready in plan.readies:
        line = f"{ready.name}: {ready.family.name} {ready.family.kind}. {' '.join(ready.notes)}"
        console.print(f"[bold]Model[/]   {clean(line)}", highlight=False)
    for arm, work in zip(arms, plan.works, strict=True):
        what = f"impossible: {arm['impossible']}" if arm["impossible"] else work.arm.method.title
        console.print(f"[bold]Arm[/]     {clean(work.label)}: {clean(what)}", highlight=False)
    for claim in plan.recipe.claims:
        metric = claim.metric or plan.recipe.task.metrics[0]
        console.print(f"[bold]Claim[/]   {clean(f'{claim.arm} over {claim.over} by {metric}')}")
    console.print(f"[bold]Folder[/]  {clean(str(plan.folder))}", highlight=False)
    if skipped:
        console.print(
            f"[bold]Hub[/]     not reached: {len(skipped)} checks skipped. `run` needs it, or local "
            "files: task.path, a model's folder.",
            style="yellow",
            highlight=False,
        )
    for line in skipped:
        console.print(f"        skipped: {clean(line)}", style="yellow", highlight=False)


def print_count(found: Any, as_json: bool) -> None:
    """A model's architecture, its parameters by group, and the ledger of its adaptation."""
    if as_json:
        print(json_text(found.as_json()))
        return
    from tuneproof.parameters.text import adaptation_lines, architecture_lines, parameter_lines

    console = Console(soft_wrap=True)
    console.print(f"[bold]{clean(found.model)}[/]  configuration: {clean(found.origin)}", highlight=False)
    for title, lines in (
        ("Architecture", architecture_lines(found)),
        ("Parameters", parameter_lines(found)),
        *((title, lines) for title, lines in adaptation_lines(found)),
    ):
        console.print(f"\n[bold]{clean(title)}[/]", highlight=False)
        for line in lines:
            console.print(f"  {clean(line)}", highlight=False)
    for note in found.notes:
        console.print(f"  {clean(note)}", style="dim", highlight=False)


def print_comparisons(found: Iterable[dict[str, Any]], as_json: bool) -> None:
    """Comparisons as sentences, or as JSON."""
    comparisons = list(found)
    if as_json:
        print(json_text(comparisons))
        return
    for comparison in comparisons:
        print(printable(comparison["sentence"]))


def print_published(found: Any, as_json: bool) -> None:
    """What the gate saw, and where the arm is now."""
    passed, sent = found.passed, found.sent
    if as_json:
        where = {"folder": None if found.folder is None else str(found.folder)}
        print(json_text({**vars(passed), **where, **(vars(sent) if sent else {})}))
        return
    merged = "" if passed.merged is None else f"; merged against adapter {passed.merged:.0e}"
    print(
        f"Loaded in a fresh process: {passed.items} test items come out as in the study (largest "
        f"difference {passed.difference:.0e} {passed.unit}{merged})."
    )
    if sent is None:
        print(printable(str(found.folder)))
        return
    removed = f", {sent.removed} removed" if sent.removed else ""
    print(
        printable(f"{sent.url}: {sent.sent} files sent{removed}, read back and equal; commit {sent.commit}.")
    )


def print_doctor(found: Any, as_json: bool) -> None:
    """A line each; where something lacks, what to do stands under it."""
    if as_json:
        print(json_text([line.as_json() for line in found]))
        return
    console = Console(soft_wrap=True)
    wide = max(len(line.name) for line in found)
    for line in found:
        sign, colour = STATES[line.state]
        console.print(f"[{colour}]{sign}[/] {line.name.ljust(wide)}  {clean(line.found)}", highlight=False)
        if line.do:
            console.print(f"  {' ' * wide}  {clean(line.do)}", style="bold", highlight=False)


def print_fit(found: Any, as_json: bool) -> None:
    """Predicted peaks as a table, and what fits as sentences."""
    from tuneproof.memory.text import fit_sentences, fit_table

    if as_json:
        print(json_text(found.as_json()))
        return
    console = Console(soft_wrap=True)
    first, *rest = fit_sentences(found)
    console.print(clean(first), highlight=False)
    header, rows = fit_table(found)
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]
    for number, row in enumerate((header, *rows)):
        cells = [
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        style = "bold" if number == 0 else None
        console.print(clean("  ".join(cells)), highlight=False, style=style)
    for line in rest:
        console.print(clean(line), highlight=False)
