"""States of rows on disk: whole or absent, found by content, read without padding."""

import numpy as np
import pytest
import torch

from tuneproof.models.activation_cache import (
    STATES,
    KeptStates,
    Row,
    bytes_kept,
    digest_of,
    each_once,
    is_kept,
    keep,
    size_of,
    states_folder,
)

ROWS = [Row(np.array([1, 5, 9])), Row(np.array([1, 7])), Row(np.array([4]), np.array([1]))]


def states_of(row: Row, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.arange(len(row) * 2, dtype=dtype).view(-1, 2) + 10 * int(row.ids[-1])


def kept_in(folder, dtype=torch.float32) -> KeptStates:
    parts = [([0, 2], torch.cat([states_of(ROWS[0], dtype), states_of(ROWS[2], dtype)]))]
    parts.append(([1], states_of(ROWS[1], dtype)))
    assert list(keep(folder, ROWS, iter(parts))) == [2, 1]
    kept = KeptStates()
    kept.add(folder)
    return kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_come_back_exactly_one_after_the_other_in_any_order(tmp_path, dtype) -> None:
    kept = kept_in(tmp_path / "states-a", dtype)
    for order in ([0, 1, 2], [2, 0], [1, 1]):
        found = kept.read([ROWS[place].digest for place in order])
        assert found.dtype == dtype
        assert torch.equal(found, torch.cat([states_of(ROWS[place], dtype) for place in order]))


def test_a_row_that_is_not_kept_is_none_and_so_is_its_batch(tmp_path) -> None:
    kept = kept_in(tmp_path / "states-a")
    assert kept.read([ROWS[0].digest, digest_of([1, 5])]) is None
    assert kept.read([digest_of([4])]) is None, "the same tokens of other types are another row"


def test_what_is_damaged_or_half_written_is_not_there(tmp_path) -> None:
    folder = tmp_path / "states-a"
    with pytest.raises(ZeroDivisionError):
        list(keep(folder, ROWS, (([0], states_of(ROWS[0]) / (1 // n)) for n in (1, 0))))
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []
    kept_in(folder)
    assert is_kept(folder)
    (folder / STATES).write_bytes(b"0" * (folder / STATES).stat().st_size)
    assert not is_kept(folder)


def test_the_folders_name_changes_with_the_trunk_and_any_token(tmp_path) -> None:
    name = states_folder(tmp_path, "one", ROWS)
    assert name == states_folder(tmp_path, "one", list(ROWS))
    assert name != states_folder(tmp_path, "another", ROWS)
    assert name != states_folder(tmp_path, "one", [*ROWS[:2], Row(np.array([3]), np.array([1]))])
    assert name != states_folder(tmp_path, "one", [*ROWS[:2], Row(np.array([4]))])


def test_bytes_are_those_on_disk_and_no_position_is_padded(tmp_path) -> None:
    kept_in(tmp_path / "states-a")
    assert (tmp_path / "states-a" / STATES).stat().st_size == (3 + 2 + 1) * 2 * 4
    assert bytes_kept(tmp_path) == size_of(tmp_path / "states-a") > 48
    assert bytes_kept(tmp_path / "nowhere") == 0


def test_repeated_rows_are_kept_once() -> None:
    found = each_once([ROWS[0], ROWS[1], Row(np.array([1, 5, 9]))])
    assert [row.digest for row in found] == [row.digest for row in ROWS[:2]]
