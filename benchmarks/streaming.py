"""Reading and encoding rows as they come: peak memory and rate, by how many rows there are.

In: a model's folder, numbers of rows. Out: a table; 1 where memory grows by more than the bar.
Knows nothing of: labels, training.

    python -m benchmarks streaming [--model FOLDER] [--rows 20000 2000000]

Rows are generated, written as Parquet, read through Arrow batch by batch and encoded by the package's own
function, each size in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

BAR_MIB = 300
AT_ONCE = 4096
PROSE = (
    "a quiet film that grows on you slowly and then all at once the plot never finds its feet though "
    "actors try warm funny sly overlong charming but thin not bad by end nobody cares who did it"
)
WORDS = PROSE.split()


def texts(rows: int) -> Iterator[list[str]]:
    """Sentences of 5 to 40 words, piece by piece."""
    random = np.random.default_rng(0)
    for start in range(0, rows, AT_ONCE):
        sizes = random.integers(5, 41, min(AT_ONCE, rows - start))
        yield [" ".join(random.choice(WORDS, size)) for size in sizes]


def write(path: Path, rows: int) -> None:
    """The rows as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for piece in texts(rows):
            writer.write_batch(pa.record_batch([pa.array(piece)], schema=schema))


def measured(path: Path, model: str) -> dict[str, float]:
    """Encode one file in this process."""
    import pyarrow.parquet as pq

    from tuneproof.data.encode import encode_stream
    from tuneproof.families import family_of
    from tuneproof.families.models import resolve_model
    from tuneproof.models.checkpoint_files import read_config, read_tokenizer_with_notes

    source = resolve_model(model)
    config = read_config(source)
    family = family_of(config)
    tokenizer = read_tokenizer_with_notes(source, config, family)[0]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    pieces = (piece.column("text").to_pylist() for piece in pq.ParquetFile(path).iter_batches(AT_ONCE))
    found = encode_stream(tokenizer, family, pieces, 128, "end")
    seconds = time.perf_counter() - started
    return {
        "rows": len(found.ids),
        "tokens": int(found.tokens_N.sum()),
        "on_disk": found.ids.on_disk,
        "seconds": seconds,
        "before_mib": before,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main(arguments: Sequence[str]) -> int:
    """Print the table; 1 where the largest file takes BAR_MIB more than the smallest."""
    parser = argparse.ArgumentParser(prog="benchmarks streaming")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 2_000_000])
    parser.add_argument("--file")
    options = parser.parse_args(arguments)
    if options.file:
        print(json.dumps(measured(Path(options.file), options.model)))
        return 0
    peaks = []
    print("     rows       tokens  tokens on  peak MiB   rows/s")
    with tempfile.TemporaryDirectory() as folder:
        for rows in options.rows:
            path = Path(folder) / f"{rows}.parquet"
            write(path, rows)
            command = [sys.executable, "-m", "benchmarks", "streaming", "--model", options.model]
            done = subprocess.run([*command, "--file", str(path)], check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            assert found["rows"] == rows
            peaks.append(found["peak_mib"])
            print(
                f"{rows:9,} {found['tokens']:12,}  {'disk' if found['on_disk'] else 'memory':9} "
                f"{found['peak_mib']:9,.0f} {rows / found['seconds']:8,.0f}",
                flush=True,
            )
    grown = peaks[-1] - peaks[0]
    print(f"{grown:,.0f} MiB more for {options.rows[-1] / options.rows[0]:g} times the rows (bar {BAR_MIB})")
    return int(grown > BAR_MIB)
