"""The page signals only a study's own process, and a damaged study hides no other one."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from tests.ui.running_page import running_page
from tuneproof.study.lock import LOCK, StudyLock
from tuneproof.ui import processes, studies
from tuneproof.ui.board import read_curves

DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
RECIPE = "task: demo\narms: [majority]\nseeds: [0]\n"


@pytest.fixture
def study(page, request):
    """The folder of a study of its own for this test, that has a recipe alone."""
    folder = page.folder / f"study{abs(hash(request.node.name))}"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


@contextmanager
def process():
    """A process that ignores SIGTERM."""
    child = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
    child.stdout.readline()
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def lock(folder, pid: int, started: float | None) -> None:
    holder = {"pid": pid, "host": socket.gethostname(), "since": "now"}
    (folder / LOCK).write_text(json.dumps(holder | ({} if started is None else {"started": started})))


def record(page, name: str, log: str = "", **values) -> None:
    path = page.folder / ".ui/runs" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"study": name, "exit_code": None, **values}))
    path.with_suffix(".log").write_text(log)


def state(page, folder) -> str:
    return page.ask(f"api/studies/{folder.name}")[1]["state"]


@pytest.fixture
def signals(monkeypatch) -> list:
    """The signals that would have been sent."""
    sent = []
    monkeypatch.setattr(psutil.Process, "send_signal", lambda process, number: sent.append(process.pid))
    return sent


def test_a_process_that_got_the_number_of_the_studys_is_not_signalled(page, study, signals):
    with process() as child:
        before = psutil.Process(child.pid).create_time() - 100
        for started in (before, None):
            lock(study, child.pid, started)
            assert state(page, study) == "stopped"
            assert page.ask(f"api/studies/{study.name}/stop", {})[0] == 409
        (study / LOCK).unlink()
        for values in ({"started": before}, {"started": "x"}, {}):
            record(page, study.name, pid=child.pid, **values)
            assert state(page, study) == "stopped"
            assert page.ask(f"api/studies/{study.name}/stop", {})[0] == 409
    assert signals == []


def test_a_lock_without_a_start_counts_while_its_file_is_locked(page, study, signals):
    with StudyLock(study) as held:
        held.take()
        lock(study, os.getpid(), None)
        assert state(page, study) == "running"
        assert page.ask(f"api/studies/{study.name}/stop", {})[0] == 200
        assert signals == [os.getpid()]


def test_a_study_of_another_user_is_not_stopped_and_says_so(page, study, monkeypatch):
    def refuse(process, number):
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "send_signal", refuse)
    with process() as child:
        lock(study, child.pid, psutil.Process(child.pid).create_time())
        status, answer = page.ask(f"api/studies/{study.name}/stop", {})
    assert (status, "another user" in answer["error"]["problem"]) == (409, True)


def test_a_study_is_stopping_until_its_process_ends(page, study):
    address = f"api/studies/{study.name}"
    with process() as child:
        record(page, study.name, pid=child.pid, started=psutil.Process(child.pid).create_time())
        board = page.ask(address)[1]
        assert (board["state"], board["stopping"]) == ("running", False)
        assert page.ask(f"{address}/stop", {})[0] == 200
        board = page.ask(address)[1]
        assert (board["state"], board["stopping"]) == ("running", True)
    board = page.ask(address)[1]
    assert (board["state"], board["stopping"]) == ("stopped", False)


def test_a_damaged_study_is_a_row_of_its_own(page, study, monkeypatch):
    (study / "forecast.json").write_text('{"arms": [{}]}')
    record(page, "odd", pid="x")
    (page.folder / ".ui/runs/list.json").write_text("[1]")
    read_board = studies.read_board

    def read(folder):
        if folder == study:
            raise PermissionError(13, "Permission denied", "arms")
        return read_board(folder)

    states = {row["name"]: row["state"] for row in page.ask("api/studies")[1]["studies"]}
    assert (states[study.name], states["odd"], states["list"]) == ("stopped", "stopped", "unreadable")
    monkeypatch.setattr(studies, "read_board", read)
    os.utime(study)
    row = next(row for row in page.ask("api/studies")[1]["studies"] if row["name"] == study.name)
    assert row["state"] == "unreadable"
    assert "Permission denied" in row["error"]
    assert page.ask(f"api/studies/{study.name}")[1]["error"] == row["error"]


def test_a_study_at_rest_is_read_once_for_the_list(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text(RECIPE)
    read, read_board = [], studies.read_board
    monkeypatch.setattr(studies, "read_board", lambda folder: read.append(folder.name) or read_board(folder))
    with running_page(tmp_path) as page:
        first = page.ask("api/studies")
        assert page.ask("api/studies") == first
        assert sorted(read) == ["a", "b"]
        (tmp_path / "b" / "comparisons.json").write_text("{}")
        page.ask("api/studies")
        assert sorted(read) == ["a", "b", "b"]
        monkeypatch.setattr(studies, "MAX_STUDIES", 1)
        answer = page.ask("api/studies")[1]
        assert ([row["name"] for row in answer["studies"]], answer["left_out"]) == (["b"], 1)


@pytest.fixture
def started(monkeypatch) -> list:
    """The words of the commands that would have been started."""
    words = []
    monkeypatch.setattr(processes, "start", lambda each, record, about: words.append(each))
    return words


def test_go_on_runs_the_studys_recipe_whatever_the_record_says(page, study, started):
    record(page, study.name, words=["run", "/tmp/other.yaml"], pid=None)
    own = ["run", str(study / "recipe.yaml"), "--out", str(study)]
    assert page.ask(f"api/studies/{study.name}/go-on", {})[0] == 200
    assert page.ask(f"api/studies/{study.name}/seeds", {"seeds": 1})[0] == 200
    assert started == [own, [*own, "--set", "seeds=[0, 1]"]]


def test_go_on_without_a_folder_runs_the_pages_recipe_and_no_link(page, started, tmp_path):
    record(page, "early", words=["run", "/tmp/other.yaml"])
    recipe = page.folder / ".ui/recipes/early.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    status, answer = page.ask("api/studies/early/go-on", {})
    assert (status, "does not exist" in answer["error"]["problem"]) == (409, True)
    (tmp_path / "far.yaml").write_text(RECIPE)
    recipe.symlink_to(tmp_path / "far.yaml")
    status, answer = page.ask("api/studies/early/go-on", {})
    assert (status, "is a link" in answer["error"]["problem"]) == (409, True)
    recipe.unlink()
    recipe.write_text(RECIPE)
    assert page.ask("api/studies/early/go-on", {})[0] == 200
    assert started == [["run", str(recipe), "--out", str(page.folder / "early")]]
    for name in ("..", "nothing"):
        assert page.ask(f"api/studies/{name}/go-on", {})[0] in (403, 404)


def test_a_command_that_ended_unseen_says_why_and_a_finished_study_shows_no_error(page, study, monkeypatch):
    log = "Reading.\ntuneproof: data.csv: is empty.\n"
    record(page, study.name, log, pid=2**22 + 1, started=1.0)
    board = page.ask(f"api/studies/{study.name}")[1]
    assert (board["state"], board["error"]) == ("stopped", "data.csv: is empty.")
    record(page, study.name, "Reading.\n", pid=2**22 + 1, exit_code=-9)
    assert page.ask(f"api/studies/{study.name}")[1]["error"] == "Signal 9 ended the command."
    finished = {**studies.EMPTY_BOARD, "name": study.name, "state": "finished"}
    monkeypatch.setattr(studies, "read_board", lambda folder: dict(finished))
    record(page, study.name, log, exit_code=1)
    assert page.ask(f"api/studies/{study.name}")[1]["error"] == ""


def test_the_report_is_framed_by_the_notebook_opens_no_window_and_is_no_link(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "report.html").write_text("<!doctype html>")
    for framed_by, end in (
        ("", "'self'"),
        ("https://*.notebook.example", "'self' https://*.notebook.example"),
    ):
        with running_page(tmp_path, framed_by) as page:
            address = page.ask("api/studies/a")[1]["report"]
            policy = page.fetch(address)[2]["Content-Security-Policy"]
            assert policy.endswith(f"frame-ancestors {end}")
            assert "allow-popups" not in policy
            (folder / "report.html").rename(tmp_path / "far.html")
            (folder / "report.html").symlink_to(tmp_path / "far.html")
            assert page.fetch(address)[0] == 403
            (folder / "report.html").unlink()
            (tmp_path / "far.html").rename(folder / "report.html")


def test_a_long_curve_is_thinned_and_loses_no_dev_loss(tmp_path):
    arm = tmp_path / "arms/a"
    arm.mkdir(parents=True)
    lines = [{"step": n, "loss": 1.0, "dev_loss": 2.0 if n % 99 == 0 else None} for n in range(1, 10_001)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (arm / "steps.jsonl").write_text(text.replace("1.0", "NaN", 1) + '{"step": 10001, "lo')
    begin = time.perf_counter()
    curves = read_curves(tmp_path, "a")
    assert time.perf_counter() - begin < 1
    assert [step for step, _ in curves["dev"]] == list(range(99, 10_001, 99))
    assert len(curves["train"]) == 400
    assert curves["train"][-1] == [10_000, 1.0]


def test_the_stop_button_says_what_a_second_click_does_and_the_page_when_its_server_is_gone(
    tmp_path, browser
):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/recipe.yaml").write_text(RECIPE)
    tab = browser.new_page()
    with process() as child:
        with running_page(tmp_path) as page:
            record(page, "a", pid=child.pid, started=psutil.Process(child.pid).create_time())
            tab.goto(f"{page.url}#/study/a")
            stop = tab.get_by_role("button", name="Stop", exact=True)
            stop.focus()
            stop.dblclick()
            tab.get_by_role("button", name="Stop at once").wait_for()
            assert "keeps a checkpoint" in tab.locator("[aria-live]", has_text="running").inner_text()
            assert tab.evaluate("document.activeElement.textContent") == "Stop at once"
            (tmp_path / "a/forecast.json").write_text('{"arms": [{"arm": "majority", "time_s": 1}]}')
            tab.locator("tr", has_text="majority").wait_for()
            assert tab.evaluate("document.activeElement.textContent") == "Stop at once"
        tab.get_by_text("does not answer; the study goes on").wait_for()
    tab.close()


def test_an_under_trained_arm_is_marked_and_trained_further_by_its_name(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("tuneproof.ui.studies.start_study", lambda page, name, words: started.append(words))
    study = tmp_path / "a"
    arm = study / "arms" / "m.lora.seed0"
    arm.mkdir(parents=True)
    (study / "recipe.yaml").write_text(RECIPE)
    about = {"arm": "lora", "model": "m", "seed": 0, "status": "done", "order": 0}
    (arm / "arm.json").write_text(json.dumps({**about, "checkpoint": {"step": 3, "bytes": 1}}))
    with running_page(tmp_path) as page:
        assert page.ask("api/studies/a")[1]["arms"][0]["under_trained"]
        assert page.ask("api/studies/a/extend", {"arm": "full"})[0] == 422
        assert page.ask("api/studies/a/extend", {"arm": "lora"}) == (200, {"study": "a"})
        (arm / "arm.json").write_text(json.dumps(about))
        assert not page.ask("api/studies/a")[1]["arms"][0]["under_trained"]
        diagnosis = {"arm": "lora", "model": "m", "seed": 0, "under_trained": True, "findings": []}
        (study / "comparisons.json").write_text(json.dumps({"diagnoses": [diagnosis]}))
        assert page.ask("api/studies/a")[1]["arms"][0]["under_trained"]
    assert started[0][-2:] == ["--extend", "lora"]
