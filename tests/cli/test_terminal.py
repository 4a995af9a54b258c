"""What the terminal shows of a running study, with and without a terminal."""

import io

import pytest
from rich.console import Console

from tuneproof.cli.terminal import TerminalView
from tuneproof.context.monitor import ArmFinished, ArmStarted, Progress, StageStarted, StudyForecast

FORECAST = StudyForecast("About 2 minutes: 2 runs, 10 steps.", {"lora seed 0": 60.0, "lora seed 1": 60.0})
EVENTS = (
    FORECAST,
    ArmStarted(1, 2, "lora seed 0"),
    StageStarted("train", 10, "steps"),
    Progress(5, "loss 0.3"),
    ArmFinished("lora seed 0", "done", "accuracy 0.9", 120.0),
    ArmStarted(2, 2, "lora seed 1"),
    StageStarted("load", None),
    ArmFinished("lora seed 1", "done", "accuracy 0.8", 110.0),
)


def view_on(terminal: bool, **options) -> tuple[TerminalView, io.StringIO]:
    view, output = TerminalView(**options), io.StringIO()
    view.console = Console(file=output, force_terminal=terminal, width=160, soft_wrap=True)
    view.bars.live.console = view.console
    view.bars.disable = not terminal
    return view, output


def test_without_a_terminal_each_arm_is_a_line_with_the_time_left():
    view, output = view_on(terminal=False)
    with view:
        for event in EVENTS:
            view.show(event)
    first, *arms = output.getvalue().splitlines()
    assert first == "About 2 minutes: 2 runs, 10 steps."
    assert [line.split("  ", 1)[1].strip() for line in arms] == [
        "120.0 s  lora seed 0  accuracy 0.9  (2 minutes left)",
        "110.0 s  lora seed 1  accuracy 0.8",
    ]


def test_on_a_terminal_a_bar_of_the_study_stands_above_that_of_the_stage():
    view, output = view_on(terminal=True)
    with view:
        for event in EVENTS[:4]:
            view.show(event)
        study, stage = view.bars.tasks
        assert (study.description, stage.description) == ("study", "1/2 lora seed 0 · train")
        assert (stage.completed, stage.fields["count"], stage.fields["note"]) == (5, "5/10", "loss 0.3")
        assert study.fields["left"] == "2 minutes left"
        view.show(EVENTS[4])
        assert [task.description for task in view.bars.tasks] == ["study"]
        assert study.completed == pytest.approx(0.53, abs=0.02), "120 s of 120 + 60 · 1.83"
        assert study.fields["count"] in ("52%", "53%")
    assert "left)" not in output.getvalue(), "the bar says it"


def test_quiet_says_nothing_of_the_cost():
    view, output = view_on(terminal=False, quiet=True)
    with view:
        for event in EVENTS:
            view.show(event)
    assert output.getvalue() == ""


def test_a_study_without_a_forecast_has_its_stages_alone():
    view, _ = view_on(terminal=True)
    with view:
        for event in EVENTS[1:4]:
            view.show(event)
        assert [task.description for task in view.bars.tasks] == ["1/2 lora seed 0 · train"]
