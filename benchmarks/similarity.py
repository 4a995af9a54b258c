"""What the search for lookalikes finds in real data, and what it costs.

In: the folder of shared data. Out: a line a data set: sizes, shares, CPU time, memory.
Knows nothing of: the audit, scores.

    python -m benchmarks similarity --data ../shared/data [--rows 100000]
"""

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tuneproof.data.lookalikes import find_lookalikes

MAX_SECONDS, MAX_BYTES = 120, 2**30
REVIEWS = 2000
TEMPLATES = 60


def _read(path: Path, column: str) -> list[str]:
    return list(map(str, pq.read_table(path, columns=[column])[column].to_pylist()))


def _cut(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Four fifths and the rest, at random."""
    order = np.random.default_rng(0).permutation(len(texts)).tolist()
    middle = len(texts) * 4 // 5
    return [texts[i] for i in order[:middle]], [texts[i] for i in order[middle:]]


def _natural(rows: int) -> list[str]:
    """Texts of about 12 words, frequent as words are in a language."""
    random = np.random.default_rng(1)
    sizes = random.integers(6, 19, rows)
    words = random.zipf(1.2, int(sizes.sum())) % 50_000
    return [" ".join(f"w{word}" for word in text) for text in np.split(words, np.cumsum(sizes)[:-1])]


def _templated(rows: int) -> list[str]:
    """Texts of a few templates with three slots."""
    random = np.random.default_rng(2)
    templates = random.integers(0, 400, (TEMPLATES, 9)).tolist()
    slots = random.integers(0, 10_000, (rows, 3)).tolist()
    return [
        " ".join([*(f"w{word}" for word in templates[i % TEMPLATES]), *(f"s{slot}" for slot in slot_values)])
        for i, slot_values in enumerate(slots)
    ]


def _reviews(data: Path, size: int | None) -> tuple[list[str], list[str]]:
    both = [_read(data / "imdb" / f"{part}.parquet", "text") for part in ("train", "test")]
    random = np.random.default_rng(0)
    train, test = ([texts[i] for i in random.permutation(len(texts))[:size]] for texts in both)
    return train, test


def _parts(data: Path, rows: int) -> dict[str, Callable[[], tuple[list[str], list[str]]]]:
    other, sst2 = data / "other", data / "sst2"
    return {
        **{
            name: lambda name=name: _cut(_read(other / f"{name}.parquet", "text"))  # type: ignore[misc]
            for name in ("cola", "trec", "subj")
        },
        "SST-2 dev": lambda: (
            _read(sst2 / "glue_train.parquet", "sentence"),
            _read(sst2 / "glue_dev.parquet", "sentence"),
        ),
        "SST-2 phrases": lambda: _cut(_read(sst2 / "glue_train.parquet", "sentence")),
        f"IMDB {REVIEWS:,}": lambda: _reviews(data, REVIEWS),
        "IMDB": lambda: _reviews(data, None),
        f"random, {rows:,} rows": lambda: _cut(_natural(rows)),
        f"{TEMPLATES} templates, {rows:,} rows": lambda: _cut(_templated(rows)),
        f"one template, {rows:,} rows": lambda: _cut(
            [f"order {i} was sent on day {i % 30}" for i in range(rows)]
        ),
    }


def main(arguments: Sequence[str]) -> int:
    """1 if a data set needs more than two minutes of CPU time or 1 GiB."""
    parser = argparse.ArgumentParser(prog="benchmarks similarity")
    parser.add_argument("--data", type=Path, required=True, help="the folder with other/, sst2/ and imdb/")
    parser.add_argument("--rows", type=int, default=100_000)
    args = parser.parse_args(arguments)
    print(
        f"{'data':28s}{'train':>8s}{'test':>8s}{'alike':>8s}{'Jaccard':>9s}{'contained':>11s}"
        f"{'CPU s':>8s}{'MiB':>7s}"
    )
    missed = False
    for name, read in _parts(args.data, args.rows).items():
        train, test = read()
        started = time.process_time()
        found = find_lookalikes(train, test)
        seconds = time.process_time() - started
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # of the process so far
        kinds = (found.is_alike_H, found.jaccard_index_H >= 0, found.containment_index_H >= 0)
        shares = [f"{100 * kind.mean():.1f} %" for kind in kinds]
        print(
            f"{name:28s}{len(train):8,}{len(test):8,}{shares[0]:>8s}{shares[1]:>9s}{shares[2]:>11s}"
            f"{seconds:8.1f}{memory / 2**20:7.0f}",
            flush=True,
        )
        missed |= seconds > MAX_SECONDS or memory > MAX_BYTES
    return int(missed)
