"""Replies on disk survive a stop; what is damaged is not used."""

import pytest

from tuneproof.methods.endpoint_log import BAD, REPLIES, ReplyLog


def written(folder):
    log = ReplyLog(folder)
    for number in range(3):
        log.add(f"key-{number}", {"reply": {"text": f"é\ud800 {number}"}})
    log.close()
    return folder / REPLIES


def reread(folder):
    log = ReplyLog(folder)
    log.add("key-9", {"reply": 9})
    log.close()
    return ReplyLog(folder)


def test_what_was_added_is_there_again(tmp_path):
    written(tmp_path)
    assert list(reread(tmp_path).rows) == ["key-0", "key-1", "key-2", "key-9"]
    assert (tmp_path / REPLIES).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_last_line_that_was_cut_off_is_dropped_and_the_next_one_is_whole(tmp_path, cut):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    log = reread(tmp_path)
    assert list(log.rows) == ["key-0", "key-1", "key-9"]
    assert log.damaged == 0
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize("damage", [b"{", b"[]\n", b"null\n", b'{"key": 1}\n', b"\xff\n", b"\n"])
def test_a_damaged_line_is_not_used_and_the_file_set_aside(tmp_path, damage):
    path = written(tmp_path)
    path.write_bytes(damage + path.read_bytes())
    log = ReplyLog(tmp_path)
    assert log.damaged == 1
    assert {"key-1", "key-2"} <= set(log.rows)
    assert ReplyLog(tmp_path).damaged == 1  # reading alone changes nothing
    assert reread(tmp_path).damaged == 0
    assert (tmp_path / f"{BAD}{REPLIES}").is_file()


def test_a_changed_reply_is_not_used(tmp_path):
    path = written(tmp_path)
    path.write_text(path.read_text().replace(" 1", " 7"))
    assert list(ReplyLog(tmp_path).rows) == ["key-0", "key-2"]
