"""Activations of a frozen model on disk: computed once, checked before use, found by the rows' content.

In: rows of tokens, their hidden states or pooled features. Out: folders, complete or absent; the activations.
Knows nothing of: models, layers, the purpose of the activations.

Each folder's name is a key of its rows and of everything else that the activations depend on. A folder is
used only if its files match their manifest and its shapes match these rows.

    features-<key>/  <pooling>.npy, one row of float32 per token row
    states-<key>/    states.bin, the states of all tokens without padding; index.npz, where each row's begin

Shapes: R rows, N real tokens over all rows of a batch, D width.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from tuneproof.atomic import MANIFEST, atomic_folder, check_folder
from tuneproof.errors import RunError

DAMAGED = "The cached {} do not fit the model and the items. They are computed again."
STATES, INDEX = "states.bin", "index.npz"
UNREADABLE = (OSError, EOFError, LookupError, ValueError, TypeError, OverflowError, BadZipFile)
DTYPES = {str(dtype): dtype for dtype in (torch.float32, torch.bfloat16, torch.float16)}

Features = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class TokenRow:
    """One row of token ids; `types` are its token types, if the model has them."""

    ids: Any
    types: Any = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def digest(self) -> bytes:
        """A key that changes with any token or type."""
        return row_digest(self.ids, self.types)


def row_digest(ids: Any, types: Any = None) -> bytes:
    """The key of a row of these tokens and types."""
    digest = hashlib.blake2b(np.asarray(ids, dtype=np.int64).tobytes(), digest_size=16)
    if types is not None:
        digest.update(b"types")
        digest.update(np.asarray(types, dtype=np.int64).tobytes())
    return digest.digest()


def unique_rows(rows: Iterable[TokenRow]) -> list[TokenRow]:
    """The rows without repetitions, in their order."""
    return list({row.digest: row for row in rows}.values())


def features_folder(cache: Path, source: str, rows: Iterable[TokenRow]) -> Path:
    """The folder of these rows' pooled features. source: everything else that they depend on."""
    return cache / f"features-{_key(source, rows)}"


def states_folder(cache: Path, source: str, rows: Iterable[TokenRow]) -> Path:
    """The folder of these rows' states. source: everything else that they depend on."""
    return cache / f"states-{_key(source, rows)}"


def _key(source: str, rows: Iterable[TokenRow]) -> str:
    digest = hashlib.sha256(source.encode())
    for row in rows:
        digest.update(row.digest)
    return digest.hexdigest()[:32]


def _is_undamaged(folder: Path) -> bool:
    """Whether the folder exists and its files match their manifest."""
    if not (folder / MANIFEST).is_file():
        return False
    try:
        check_folder(folder)
    except RunError:
        return False
    return True


def write_features(folder: Path, features: Mapping[str, NDArray[np.float32]]) -> None:
    """Write features, complete or not at all."""
    with atomic_folder(folder) as inside:
        for name, values_ND in features.items():
            np.save(inside / f"{name}.npy", values_ND)


def read_features(folder: Path, names: Sequence[str], rows: int, width: int | None = None) -> Features | None:
    """Features of these names and of this shape (width None: of any width, the same for all).

    None where they are missing, damaged, of other shapes or not finite.
    """
    if not _is_undamaged(folder):
        return None
    try:
        features: Features = {name: open_memmap(folder / f"{name}.npy", "r") for name in names}
    except UNREADABLE:
        return None
    shapes = {(values_ND.shape, str(values_ND.dtype)) for values_ND in features.values()}
    if width is None and features:
        width = next(iter(features.values())).shape[-1]
    is_finite = all(np.isfinite(values_ND).all() for values_ND in features.values())
    return features if shapes <= {((rows, width), "float32")} and is_finite else None


def cached_bytes(cache: Path) -> int:
    """Bytes on disk of all states in a cache."""
    return sum(map(folder_bytes, cache.glob("states-*")))


def folder_bytes(folder: Path) -> int:
    """Bytes on disk of one folder."""
    return sum(file.stat().st_size for file in folder.iterdir())


def write_states(folder: Path, rows: Sequence[TokenRow], batches: Iterator[tuple[Any, torch.Tensor]]) -> None:
    """Write the states of rows, complete or not at all.

    batches: (indices of some rows, their states [N, D] one row after the other), each row once.
    """
    order: list[int] = []
    with atomic_folder(folder) as inside:
        with open(inside / STATES, "wb") as file:
            for indices, states_ND in batches:
                file.write(states_ND.contiguous().view(torch.uint8).numpy().data)
                order += [int(index) for index in indices]
        np.savez(
            inside / INDEX,
            digests_R=np.frombuffer(b"".join(rows[i].digest for i in order), np.uint8).reshape(-1, 16),
            start_R=np.cumsum([0, *(len(rows[i]) for i in order)], dtype=np.int64),
            width=states_ND.shape[-1],
            dtype=str(states_ND.dtype),
        )


def has_states(folder: Path, rows: Sequence[TokenRow], sample: torch.Tensor) -> bool:
    """Whether the folder has the states of exactly these rows, undamaged, of the sample's width and dtype."""
    if not _is_undamaged(folder):
        return False
    try:
        index = _Index.read(folder)
        lengths = dict(zip(index.digests, np.diff(index.start).tolist(), strict=True))
        size = (folder / STATES).stat().st_size
    except UNREADABLE:
        return False
    is_alike = (index.token_bytes, index.dtype) == (sample.shape[-1] * sample.element_size(), sample.dtype)
    is_complete = size == index.start[-1] * index.token_bytes
    return is_alike and is_complete and lengths == {row.digest: len(row) for row in rows}


@dataclass(frozen=True)
class _Index:
    """The rows of `states.bin` in their order: digests, and where each row's tokens start."""

    digests: list[bytes]
    start: list[int]
    token_bytes: int
    dtype: torch.dtype

    @classmethod
    def read(cls, folder: Path) -> "_Index":
        """Raises: one of UNREADABLE where the file is not an index."""
        with np.load(folder / INDEX) as arrays:
            digests = [digest.tobytes() for digest in arrays["digests_R"]]
            dtype = DTYPES[str(arrays["dtype"])]
            return cls(digests, arrays["start_R"].tolist(), int(arrays["width"]) * dtype.itemsize, dtype)


@dataclass
class ActivationCache:
    """The states of the rows of some folders, read from disk on demand.

    A folder's file is mapped anew for every read: with one lasting map, everything ever read of it would
    count as this process's memory.
    """

    dtype: torch.dtype = torch.float32
    files: list[tuple[Path, tuple[int, int]]] = field(default_factory=list)
    spans: dict[bytes, tuple[int, int, int]] = field(default_factory=dict)  # file, start, end

    def add(self, folder: Path) -> None:
        """Add the rows of a folder of `write_states`."""
        index, number = _Index.read(folder), len(self.files)
        self.dtype = index.dtype
        self.files.append((folder / STATES, (index.start[-1], index.token_bytes)))
        for digest, start, end in zip(index.digests, index.start, index.start[1:], strict=False):
            self.spans[digest] = (number, start, end)

    def read(self, digests: Sequence[bytes]) -> torch.Tensor | None:
        """States [N, D] of these rows, one row after the other; None where one of them is missing."""
        if not all(digest in self.spans for digest in digests):
            return None
        maps: dict[int, np.ndarray] = {}
        pieces = []
        for digest in digests:
            number, start, end = self.spans[digest]
            if number not in maps:
                file, shape = self.files[number]
                maps[number] = np.memmap(file, np.uint8, "r", shape=shape)
            pieces.append(maps[number][start:end])
        return torch.from_numpy(np.concatenate(pieces)).view(self.dtype)
