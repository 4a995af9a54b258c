"""progress.json says how far a running study is, and is there only while it runs."""

import json

import pytest

from tuneproof.context.monitor import ArmFinished, ArmStarted, Message, Progress, StageStarted, StudyForecast
from tuneproof.record.study_folder import PROGRESS
from tuneproof.study.lock import LOCK, StudyLock, is_held, lock_holder
from tuneproof.study.progress_file import ProgressFile


@pytest.fixture
def locked(tmp_path):
    with StudyLock(tmp_path) as lock:
        lock.take()
        yield tmp_path


def read(folder):
    return json.loads((folder / PROGRESS).read_text())


def test_it_names_the_arm_its_stage_and_what_is_left(locked):
    with ProgressFile(locked, interval_s=0) as progress:
        progress.show(StudyForecast("About 3 s.", {"a": 1.0, "b": 2.0}))
        progress.show(ArmStarted(1, 2, "a"))
        progress.show(ArmFinished("a", "done", "accuracy 0.5", 1.0))
        progress.show(ArmStarted(2, 2, "b"))
        progress.show(StageStarted("train", 10, "steps", done=2))
        progress.show(Progress(3, "loss 0.3"))
        values = read(locked)
        assert values["arm"] == {"number": 2, "total": 2, "label": "b"}
        stage = {"name": "train", "done": 5, "total": 10, "unit": "steps", "note": "loss 0.3"}
        assert values["stage"] == stage
        assert values["arms"] == {"a": {"status": "done", "line": "accuracy 0.5"}}
        assert values["forecast"] == "About 3 s."
        assert 0 < values["left_s"] <= 2
        assert 0.3 < values["share"] < 1


def test_it_keeps_the_last_messages_without_details(locked):
    with ProgressFile(locked, interval_s=0) as progress:
        for number in range(60):
            progress.show(Message(f"note {number}"))
        progress.show(Message("kernel", "detail"))
        texts = [message["text"] for message in read(locked)["messages"]]
    assert texts == [f"note {number}" for number in range(10, 60)]


def test_it_is_removed_at_the_end_and_after_an_error(locked):
    def fail() -> None:
        with ProgressFile(locked, interval_s=0) as progress:
            progress.show(StageStarted("train", 10))
            assert (locked / PROGRESS).exists()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not (locked / PROGRESS).exists()
    assert not list(locked.glob("*.tmp-*"))


def test_it_is_written_at_most_once_a_second(locked):
    with ProgressFile(locked) as progress:
        progress.show(StageStarted("train", 10))
        first = (locked / PROGRESS).stat().st_mtime_ns
        progress.show(Progress(1))
        assert (locked / PROGRESS).stat().st_mtime_ns == first


def test_a_process_that_does_not_hold_the_lock_neither_writes_nor_removes_it(locked):
    (locked / LOCK).write_text(json.dumps({"pid": 1, "host": "other", "since": "now"}))
    (locked / PROGRESS).write_text("{}")
    with ProgressFile(locked, interval_s=0) as progress:
        progress.show(StageStarted("train", 10))
    assert (locked / PROGRESS).read_text() == "{}"


def test_a_disk_that_refuses_it_does_not_stop_the_study(locked):
    (locked / PROGRESS).mkdir()
    with ProgressFile(locked, interval_s=0) as progress:
        progress.show(StageStarted("train", 10))
    assert (locked / PROGRESS).is_dir()
    assert not list(locked.glob("*.tmp-*"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', "\xff"])
def test_a_lock_that_is_no_lock_is_held_by_nobody(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    assert lock_holder(tmp_path) == {}
    assert not is_held(tmp_path)


def test_a_lock_of_a_process_that_is_gone_is_not_held(locked):
    assert is_held(locked)
    holder = {**lock_holder(locked), "pid": 2**22 + 1}
    (locked / LOCK).write_text(json.dumps(holder))
    assert not is_held(locked)
    (locked / LOCK).write_text(json.dumps({**holder, "host": "another machine"}))
    assert is_held(locked)


def test_a_lock_whose_process_number_went_to_a_later_process_is_not_held(locked):
    holder = lock_holder(locked)
    (locked / LOCK).write_text(json.dumps({**holder, "started": holder["started"] - 100}))
    assert not is_held(locked)


def test_a_lock_of_an_older_version_is_held_while_its_file_is_locked(tmp_path):
    with StudyLock(tmp_path) as lock:
        lock.take()
        holder = {name: value for name, value in lock_holder(tmp_path).items() if name != "started"}
        (tmp_path / LOCK).write_text(json.dumps(holder))
        assert is_held(tmp_path)
    (tmp_path / LOCK).write_text(json.dumps(holder))
    assert not is_held(tmp_path)
