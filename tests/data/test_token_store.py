"""Tokens of many items as one array, in memory or on disk."""

import errno
import io

import numpy as np
import pytest

from tests.tiny_models import tiny_tokenizer
from tuneproof.data import token_store
from tuneproof.data.encode import encode_stream, encode_texts
from tuneproof.data.token_store import TokenWriter
from tuneproof.families import FAMILIES
from tuneproof.tasks.task import Example

ROWS = [list(range(size)) for size in (3, 0, 7, 1, 40, 2)]


@pytest.mark.parametrize("kept", [0, 5, 1000])
def test_rows_come_back_as_they_went_in_wherever_they_lie(kept):
    written = TokenWriter(kept)
    for start in range(0, len(ROWS), 2):
        written.add(ROWS[start : start + 2])
    rows = written.rows()
    assert rows.on_disk == (kept < 53)
    assert [row.tolist() for row in rows] == ROWS
    assert [row.tolist() for row in rows[1:4]] == ROWS[1:4]
    assert rows[-1].tolist() == ROWS[-1]
    assert rows.lengths_N.tolist() == [3, 0, 7, 1, 40, 2]
    assert all(row.dtype == np.int64 for row in rows)
    with pytest.raises(IndexError):
        rows[6]


class FullDisk(io.BytesIO):
    """A file on a disk that takes nothing."""

    def fileno(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def no_folder(**options):
    raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")


@pytest.mark.parametrize("file", [no_folder, lambda **options: FullDisk()])
def test_rows_stay_in_memory_where_no_file_can_be_written(monkeypatch, file):
    monkeypatch.setattr(token_store.tempfile, "TemporaryFile", file)
    written = TokenWriter(5)
    for row in ROWS:
        written.add([row])
    rows = written.rows()
    assert not rows.on_disk
    assert [row.tolist() for row in rows] == ROWS


def test_no_rows_are_no_rows():
    rows = TokenWriter().rows()
    assert len(rows) == 0
    assert list(rows) == []


def test_texts_in_pieces_are_encoded_as_texts_together():
    tokenizer = tiny_tokenizer("bert")
    texts = [f"She liked the film {'very ' * size}much [MASK]." for size in range(12)]
    examples = [Example(str(at), text, 0, str(at)) for at, text in enumerate(texts)]
    whole = encode_texts(tokenizer, FAMILIES["bert"], examples, 16, "middle")
    pieces = encode_stream(tokenizer, FAMILIES["bert"], iter([texts[:5], [], texts[5:]]), 16, "middle")
    assert [row.tolist() for row in pieces.ids] == [row.tolist() for row in whole.ids]
    assert pieces.counts == whole.counts
    assert whole.counts["special_text"] == 12
    assert whole.counts["truncated"] == int(whole.truncated_N.sum()) > 0
    assert pieces.untruncated_N.tolist() == whole.untruncated_N.tolist()
    assert whole.tokens_N.max() == 16 < whole.untruncated_N.max()
