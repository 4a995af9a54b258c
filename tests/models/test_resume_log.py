"""A prediction that is cut short goes on from its finished batches, in the same composition."""

import numpy as np
import pytest

from tuneproof.models.oom import AdaptiveBatchSize, run_in_batches
from tuneproof.models.resume_log import ResumeLog, ResumeLogs, remove_resume_logs

LENGTHS = [3, 9, 4, 9, 1, 7, 5, 5, 2, 8]
KINDS = [np.float64, np.float32, np.int64]


def value(batch, kind=np.float64):
    return (np.asarray(batch)[:, None] * np.pi / 3 + np.arange(3)).astype(kind)


def predicted(path, until=None, size=4, kind=np.float64, fails=0, fingerprint="me"):
    """(batches computed, results) with a resume log at `path`, cut short after `until` batches."""
    computed, results = [], {}
    left = [fails]

    def work(batch):
        if len(batch) > 2 and left[0]:
            left[0] -= 1
            raise MemoryError
        computed.append(batch.tolist())
        return value(batch, kind)

    resume_log = ResumeLog(path, fingerprint, every_s=0)
    for done, (batch, values) in enumerate(
        run_in_batches(LENGTHS, AdaptiveBatchSize(size, resume_log=resume_log), work)
    ):
        results |= {int(index): values[row].tobytes() for row, index in enumerate(batch)}
        if done + 1 == until:
            break
    resume_log.close()
    return computed, results


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("until", [1, 2, 3])
def test_finished_batches_are_not_computed_again_and_the_rest_is_the_same(tmp_path, until, kind):
    whole, wanted = predicted(tmp_path / "whole.jsonl", kind=kind)
    first, _ = predicted(tmp_path / "cut.jsonl", until, kind=kind)
    rest, found = predicted(tmp_path / "cut.jsonl", kind=kind)
    assert first + rest == whole
    assert found == wanted


def test_a_batch_that_was_halved_for_memory_is_halved_again(tmp_path):
    first, _ = predicted(tmp_path / "a.jsonl", until=3, fails=1)
    assert [len(batch) for batch in first] == [2, 2, 2]
    rest, found = predicted(tmp_path / "a.jsonl")
    assert [len(batch) for batch in rest] == [2, 2]
    assert sorted(place for batch in first + rest for place in batch) == sorted(found) == list(range(10))


def test_a_half_written_last_line_is_dropped(tmp_path):
    path = tmp_path / "a.jsonl"
    predicted(path, until=2)
    whole = path.read_bytes()
    for cut in (1, 30, len(whole.split(b"\n")[1])):
        path.write_bytes(whole[:-cut])
        rest, found = predicted(path)
        assert len(rest) == 2, "one batch again, and the one that was not reached"
        assert len(found) == 10
    assert not list(tmp_path.glob("bad-*"))


@pytest.mark.parametrize("where", [0.1, 0.4, 0.9])
def test_a_flipped_bit_is_never_used_and_the_file_is_set_aside(tmp_path, where):
    path = tmp_path / "a.jsonl"
    _, wanted = predicted(tmp_path / "b.jsonl")
    predicted(path)
    data = bytearray(path.read_bytes())
    data[int(len(data) * where)] ^= 1
    path.write_bytes(bytes(data))
    again, found = predicted(path)
    assert again
    assert found == wanted
    assert [p.name for p in tmp_path.glob("bad-*")] == ["bad-a.jsonl"]


def test_a_log_of_another_run_is_not_used(tmp_path):
    path = tmp_path / "a.jsonl"
    predicted(path, fingerprint="another")
    again, _ = predicted(path)
    assert len(again) == 3
    assert (tmp_path / "bad-a.jsonl").is_file()


def test_a_log_of_other_items_is_not_used(tmp_path):
    path = tmp_path / "a.jsonl"
    predicted(path, size=3)
    again, found = predicted(path, size=4)
    assert len(found) == 10
    assert again


def test_what_is_shorter_than_the_interval_writes_nothing(tmp_path):
    seconds = [0.0]
    resume_log = ResumeLog(tmp_path / "a.jsonl", "me", every_s=5, clock=lambda: seconds[0])
    resume_log.add([0], 1, value([0]))
    assert not (tmp_path / "a.jsonl").exists()
    seconds[0] = 6
    resume_log.add([1], 1, value([1]))
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 2


def test_leaving_the_context_flushes_and_a_complete_arm_keeps_none(tmp_path):
    with pytest.raises(KeyboardInterrupt), ResumeLogs(tmp_path / "logs", "me") as logs:  # noqa: PT012
        logs.open("test").add([0], 1, value([0]))
        raise KeyboardInterrupt
    assert (tmp_path / "logs" / "test.jsonl").is_file()
    remove_resume_logs(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
