"""Pipes and logs get a line of progress every so often, in `predict` too."""

from tuneproof.cli.progress_lines import ProgressLines
from tuneproof.context.monitor import ArmStarted, Monitor, Progress, StageStarted, ignore, listening


def test_a_line_says_how_far_a_long_stage_is(capsys):
    seconds = iter([0.0, 0.0, 0.0, 10.0, 40.0, 50.0])
    lines = ProgressLines(30, lambda: next(seconds))
    lines.show(ArmStarted(2, 5, "mini lora"))
    lines.show(StageStarted("train", 400, "steps", done=100))
    lines.show(Progress(50))
    lines.show(Progress(50, "loss 0.3"))
    lines.show(Progress(50))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "2/5 mini lora · train: 200 of 400 steps, 2.5/s, 80 seconds left in this stage, loss 0.3\n"
    )


def test_a_stage_without_a_total_and_hostile_names_make_one_plain_line(capsys):
    seconds = iter([0.0, 0.0, 31.0])
    lines = ProgressLines(30, lambda: next(seconds))
    lines.show(StageStarted("features\x1b[31m", None))
    lines.show(Progress(7))
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert err.count("\n") == 1
    assert "7 items" in err


def test_monitors_without_a_listener_report_to_the_one_that_listens():
    events = []
    with listening(events.append):
        Monitor().stage("predict", 3)
    assert events == [StageStarted("predict", 3)]
    assert Monitor().on_event is ignore
