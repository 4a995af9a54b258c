"""What the weight files say where config.json says otherwise: whole weights, a head of their own.

In: safetensors files. Out: whether the weights are whole, whether two of them are equal.
Knows nothing of: configurations, classes, values of weights beyond their bytes.
"""

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tuneproof.errors import ModelError

WHOLE = ("F64", "F32", "F16", "BF16")
HEADER_LENGTH_BYTES = 8


@dataclass(frozen=True)
class StoredWeights:
    """The tensors of a checkpoint, by the headers of its files."""

    files: Sequence[Path]

    @cached_property
    def _entries(self) -> dict[str, tuple[Path, int, dict[str, Any]]]:
        """File, start of the data and header entry by name. Raises: ModelError where a file is broken."""
        entries: dict[str, tuple[Path, int, dict[str, Any]]] = {}
        for path in self.files:
            try:
                with safe_open(str(path), framework="np"):  # checks the header
                    pass
            except (OSError, SafetensorError) as error:
                raise ModelError(str(path), f"cannot be read: {error}.") from None
            with open(path, "rb") as file:
                length = int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little")
                header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            start = HEADER_LENGTH_BYTES + length
            entries |= {name: (path, start, entry) for name, entry in header.items()}
        return entries

    @property
    def are_whole(self) -> bool:
        """Whether there are any, and every tensor has floats of 16 bits or more, except indices."""
        entries = self._entries.items()
        return bool(entries) and all(
            entry["dtype"] in WHOLE or name.endswith("_ids") for name, (_, _, entry) in entries
        )

    def differ(self, first: str, second: str) -> bool:
        """Whether both names are stored, and not with the same values."""
        if first not in self._entries or second not in self._entries:
            return False
        first_entry, second_entry = self._entries[first][2], self._entries[second][2]
        if any(first_entry[key] != second_entry[key] for key in ("dtype", "shape")):
            return True
        return self._bytes(first) != self._bytes(second)

    def _bytes(self, name: str) -> memoryview:
        path, start, entry = self._entries[name]
        first, last = entry["data_offsets"]
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(mapped)[start + first : start + last]
