"""Hidden states of token rows, kept on disk without padding and found again by the rows' content.

In: rows of tokens, their states. Out: folders, complete or absent; the states of any of these rows.
Knows nothing of: models, layers, what the states are for.

Shapes: R rows, N real tokens over all rows of a batch, D width, I bytes of a number.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tuneproof.atomic import MANIFEST, check_folder, read_json, whole_folder, write_json
from tuneproof.errors import RunError

STATES, ROWS, ABOUT = "states.bin", "rows.npz", "about.json"
PREFIX = "states-"
DTYPES = {str(kind): kind for kind in (torch.float32, torch.bfloat16, torch.float16)}


@dataclass(frozen=True, eq=False)
class Row:
    """One row of tokens as a model reads it whole; `types` are its token types, where it has them."""

    ids: Any
    types: Any = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def digest(self) -> bytes:
        """A name that changes with any token or type."""
        return digest_of(self.ids, self.types)


def digest_of(ids: Any, types: Any = None) -> bytes:
    """The name of a row of these tokens and types."""
    found = hashlib.blake2b(np.asarray(ids, dtype=np.int64).tobytes(), digest_size=16)
    if types is not None:
        found.update(b"types")
        found.update(np.asarray(types, dtype=np.int64).tobytes())
    return found.digest()


def each_once(rows: Iterable[Row]) -> list[Row]:
    """The rows without repetitions, in their order."""
    return list({row.digest: row for row in rows}.values())


def states_folder(cache: Path, trunk: str, rows: Sequence[Row]) -> Path:
    """Where the states of these rows are kept; the name changes with the trunk and any token."""
    digest = hashlib.sha256(trunk.encode())
    for row in rows:
        digest.update(row.digest)
    return cache / f"{PREFIX}{digest.hexdigest()[:32]}"


def is_kept(folder: Path) -> bool:
    """Whether the folder is there, whole."""
    if not (folder / MANIFEST).is_file():
        return False
    try:
        check_folder(folder)
    except RunError:
        return False  # damaged: computed again, and replaced
    return True


def bytes_kept(cache: Path) -> int:
    """Bytes on disk of all states that a cache holds."""
    return sum(map(size_of, cache.glob(f"{PREFIX}*")))


def size_of(folder: Path) -> int:
    """Bytes on disk of what `keep` wrote."""
    return sum(file.stat().st_size for file in folder.iterdir())


def keep(folder: Path, rows: Sequence[Row], parts: Iterator[tuple[Any, torch.Tensor]]) -> Iterator[int]:
    """Write the states of rows, complete or not at all; yields rows done after every batch.

    parts: (positions of some rows, their states [N, D] one row after the other), each row once.
    """
    order: list[int] = []
    with whole_folder(folder) as inside:
        with open(inside / STATES, "wb") as file:
            for chosen, states_ND in parts:
                file.write(_as_bytes(states_ND).data)
                order += [int(place) for place in chosen]
                yield len(chosen)
        write_json(inside / ABOUT, {"dtype": str(states_ND.dtype), "width": int(states_ND.shape[-1])})
        np.savez(
            inside / ROWS,
            digests=np.frombuffer(b"".join(rows[i].digest for i in order), np.uint8).reshape(-1, 16),
            start=np.cumsum([0, *(len(rows[i]) for i in order)], dtype=np.int64),
        )


def _as_bytes(states_ND: torch.Tensor) -> np.ndarray:
    return states_ND.contiguous().view(torch.uint8).numpy()


@dataclass
class KeptStates:
    """The states of the rows of some folders, read when they are asked for.

    A folder's file is mapped anew for every reading: mapped once, all that was ever read of it would
    count as this process's memory.
    """

    dtype: torch.dtype = torch.float32
    files: list[tuple[Path, tuple[int, int]]] = field(default_factory=list)
    places: dict[bytes, tuple[int, int, int]] = field(default_factory=dict)

    def add(self, folder: Path) -> None:
        """Take in what `keep` wrote."""
        about = read_json(folder / ABOUT)
        self.dtype = DTYPES[about["dtype"]]
        with np.load(folder / ROWS) as rows:
            digests, start = rows["digests"], rows["start"].tolist()
        number = len(self.files)
        self.files.append((folder / STATES, (start[-1], about["width"] * self.dtype.itemsize)))
        for place, digest in enumerate(digests):
            self.places[digest.tobytes()] = (number, start[place], start[place + 1])

    def read(self, digests: Sequence[bytes]) -> torch.Tensor | None:
        """States [N, D] of these rows, one row after the other; None where one of them is not kept."""
        found = [self.places.get(digest) for digest in digests]
        mapped: dict[int, np.ndarray] = {}
        pieces = []
        for place in found:
            if place is None:
                return None
            number, start, end = place
            if number not in mapped:
                file, shape = self.files[number]
                mapped[number] = np.memmap(file, np.uint8, "r", shape=shape)
            pieces.append(mapped[number][start:end])
        return torch.from_numpy(np.concatenate(pieces)).view(self.dtype)
