"""Activations on disk: complete or absent, found by content, checked against the rows before use."""

import json

import numpy as np
import pytest
import torch

from tuneproof.atomic import MANIFEST, sha256_of_file
from tuneproof.models.activation_cache import (
    INDEX,
    STATES,
    ActivationCache,
    TokenRow,
    cached_bytes,
    features_folder,
    folder_bytes,
    has_states,
    read_features,
    row_digest,
    states_folder,
    unique_rows,
    write_features,
    write_states,
)

ROWS = [TokenRow(np.array([1, 5, 9])), TokenRow(np.array([1, 7])), TokenRow(np.array([4]), np.array([1]))]
SAMPLE = torch.zeros(1, 2)
FEATURES = {"first": np.ones((3, 2), dtype=np.float32), "mean": np.zeros((3, 2), np.float32)}


def states_of(row: TokenRow, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.arange(len(row) * 2, dtype=dtype).view(-1, 2) + 10 * int(row.ids[-1])


def cache_in(folder, dtype=torch.float32) -> ActivationCache:
    batches = [([0, 2], torch.cat([states_of(ROWS[0], dtype), states_of(ROWS[2], dtype)]))]
    batches.append(([1], states_of(ROWS[1], dtype)))
    write_states(folder, ROWS, iter(batches))
    cache = ActivationCache()
    cache.add(folder)
    return cache


def renew_manifest(folder) -> None:
    """Let the manifest fit the files, whatever they are."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    (folder / MANIFEST).write_text(json.dumps({path.name: sha256_of_file(path) for path in files}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_come_back_exactly_one_after_the_other_in_any_order(tmp_path, dtype) -> None:
    cache = cache_in(tmp_path / "states-a", dtype)
    for order in ([0, 1, 2], [2, 0], [1, 1]):
        states = cache.read([ROWS[index].digest for index in order])
        assert states.dtype == dtype
        assert torch.equal(states, torch.cat([states_of(ROWS[index], dtype) for index in order]))


def test_a_row_that_is_not_cached_is_none_and_so_is_its_batch(tmp_path) -> None:
    cache = cache_in(tmp_path / "states-a")
    assert cache.read([ROWS[0].digest, row_digest([1, 5])]) is None
    assert cache.read([row_digest([4])]) is None, "the same tokens of other types are another row"


def test_what_is_damaged_or_half_written_is_not_used(tmp_path) -> None:
    folder = tmp_path / "states-a"
    with pytest.raises(ZeroDivisionError):
        write_states(folder, ROWS, (([0], states_of(ROWS[0]) / (1 // n)) for n in (1, 0)))
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []
    cache_in(folder)
    assert has_states(folder, ROWS, SAMPLE)
    (folder / STATES).write_bytes(b"0" * (folder / STATES).stat().st_size)
    assert not has_states(folder, ROWS, SAMPLE)


@pytest.mark.parametrize(
    ("name", "size"), [(STATES, 0), (STATES, 40), (STATES, 56), (INDEX, 0), (INDEX, 100)]
)
def test_states_of_another_shape_are_not_used_even_if_the_manifest_fits(tmp_path, name, size) -> None:
    cache_in(tmp_path / "states-a")
    path = tmp_path / "states-a" / name
    path.write_bytes(path.read_bytes()[:size].ljust(size, b"0"))
    renew_manifest(path.parent)
    assert not has_states(path.parent, ROWS, SAMPLE)


def test_states_of_other_rows_are_not_used(tmp_path) -> None:
    cache_in(tmp_path / "states-a")
    assert not has_states(tmp_path / "states-a", ROWS[:2], SAMPLE)
    assert not has_states(tmp_path / "states-a", [*ROWS[:2], TokenRow(np.array([3]), np.array([1]))], SAMPLE)


@pytest.mark.parametrize("folder_of", [states_folder, features_folder])
def test_the_folders_name_changes_with_the_source_and_any_token(tmp_path, folder_of) -> None:
    others = (
        [*ROWS[:2], TokenRow(np.array([3]), np.array([1]))],
        [*ROWS[:2], TokenRow(np.array([4]))],
        [TokenRow(np.array([1, 5])), TokenRow(np.array([9, 1, 7])), ROWS[2]],
        ROWS[::-1],
    )
    names = {folder_of(tmp_path, "one", rows) for rows in (ROWS, *others)}
    assert len({*names, folder_of(tmp_path, "another", ROWS)}) == 6
    assert folder_of(tmp_path, "one", list(ROWS)) in names


def test_bytes_are_those_on_disk_and_no_position_is_padded(tmp_path) -> None:
    cache_in(tmp_path / "states-a")
    assert (tmp_path / "states-a" / STATES).stat().st_size == (3 + 2 + 1) * 2 * 4
    assert cached_bytes(tmp_path) == folder_bytes(tmp_path / "states-a") > 48
    assert cached_bytes(tmp_path / "nowhere") == 0


def test_repeated_rows_are_cached_once() -> None:
    rows = unique_rows([ROWS[0], ROWS[1], TokenRow(np.array([1, 5, 9]))])
    assert [row.digest for row in rows] == [row.digest for row in ROWS[:2]]


def test_features_come_back_exactly_or_are_computed_again(tmp_path) -> None:
    folder, names = tmp_path / "features", list(FEATURES)
    assert read_features(folder, names, 3) is None
    write_features(folder, FEATURES)
    features = read_features(folder, names, 3)
    assert features is not None
    assert {name: features[name].tolist() for name in names} == {n: v.tolist() for n, v in FEATURES.items()}
    data = bytearray((folder / "mean.npy").read_bytes())
    data[-1] ^= 4
    (folder / "mean.npy").write_bytes(bytes(data))
    assert read_features(folder, names, 3) is None
    write_features(folder, FEATURES)
    (folder / "first.npy").unlink()
    assert read_features(folder, names, 3) is None
    write_features(folder, FEATURES)
    (folder / MANIFEST).write_text("{")
    assert read_features(folder, names, 3) is None


@pytest.mark.parametrize(
    "values",
    [
        np.ones((2, 2), np.float32),
        np.ones((3, 2)),
        np.ones(3, np.float32),
        np.array([[None, 1.0]] * 3, dtype=object),
        np.ones((3, 1), np.float32),
        np.array([[1, np.nan]] * 3, np.float32),
    ],
    ids=["fewer rows", "float64", "one dimension", "objects", "less wide", "not finite"],
)
def test_features_of_another_shape_are_not_used_even_if_the_manifest_fits(tmp_path, values) -> None:
    write_features(tmp_path / "features", FEATURES)
    np.save(tmp_path / "features" / "mean.npy", values)
    renew_manifest(tmp_path / "features")
    assert read_features(tmp_path / "features", list(FEATURES), 3) is None


def test_features_of_another_width_are_not_used(tmp_path) -> None:
    write_features(tmp_path / "features", FEATURES)
    assert read_features(tmp_path / "features", list(FEATURES), 3, 2) is not None
    assert read_features(tmp_path / "features", list(FEATURES), 3, 5) is None


def test_states_of_another_width_or_precision_are_not_used(tmp_path) -> None:
    cache_in(tmp_path / "states-a")
    assert has_states(tmp_path / "states-a", ROWS, SAMPLE)
    assert not has_states(tmp_path / "states-a", ROWS, torch.zeros(1, 3))
    assert not has_states(tmp_path / "states-a", ROWS, SAMPLE.to(torch.float16))


@pytest.mark.parametrize("name", ["digests_R", "start_R", "width", "dtype"])
@pytest.mark.parametrize("value", [7, [], [[1.5]], "text"])
def test_an_altered_index_is_not_used_even_if_the_manifest_fits(tmp_path, name, value) -> None:
    cache_in(tmp_path / "states-a")
    with np.load(tmp_path / "states-a" / INDEX) as arrays:
        altered = {**arrays, name: value}
    np.savez(tmp_path / "states-a" / INDEX, **altered)
    renew_manifest(tmp_path / "states-a")
    assert not has_states(tmp_path / "states-a", ROWS, SAMPLE)
