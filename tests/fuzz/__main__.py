"""Coverage-guided fuzzing by atheris: `python -m tests.fuzz MINUTES [CORPUS]`, every target in turn.

In: minutes in all. Out: executions of each target; a finding's bytes in CORPUS/<target>-finding.
Knows nothing of: what a target does.

Each target runs in a process of its own, since libFuzzer ends it. A finding is mended and kept as a
test in tests/strangers/test_findings.py or test_file_findings.py.
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
TOKENS = {
    "recipe": [
        "task:",
        "arms:",
        "models:",
        "labels",
        "lora",
        "head",
        "claim:",
        "seeds:",
        "split:",
        "train:",
        "&a",
        "*a",
        "!!",
        "1e3",
        "2e-5",
        "no",
        "~",
        "? ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "|\\x0a",
        ">",
        "%YAML 1.1",
        "---",
        "...",
        "\\\\x41",
        "<<:",
        "0o7",
        "0x",
        ".inf",
        ".nan",
    ],
    "own_file": [
        "text",
        "label",
        "question",
        "context",
        "answers",
        "answer_start",
        "is_impossible",
        "data",
        "paragraphs",
        "qas",
        "id",
        "title",
        "\\x22\\x22",
        "PAR1",
        "NaN",
        "\\xef\\xbb\\xbf",
        "\\xff\\xfe",
        "\\x0d\\x0a",
        "1e999",
        "\\\\ud800",
        "null",
        "true",
    ],
    "answer": [
        "yes",
        "no",
        "positive",
        "negative",
        "\\x00",
        "\\x01",
        "**",
        "\\xc4\\xb0",
        "\\xc3\\x9f",
        "\\xe2\\x80\\xa8",
    ],
    # files, of which the first byte chooses one: JSON is mutated as JSON
    "adapter": [],
    "configuration": [],
    "tokenizer": [],
    "study": [],
    "questions": [],
}
MEMORY_BYTES = 2 << 30  # beyond what the seeds take


def seeds(target: str, folder: Path) -> None:
    """A first corpus: what is good, and what is known to be nearly good."""
    made: list[bytes] = []
    if not TOKENS[target]:
        from tests.fuzz.file_targets import FILES

        made = FILES[target][1]()
    elif target == "recipe":
        made = [path.read_bytes() for path in sorted((ROOT / "recipes").glob("*.yaml"))]
        made.append(b"task: {labels: {path: a.csv}}\narms: [majority, lexical]\nout: x\n")
    elif target == "own_file":
        rows = [{"text": f"good film {n}", "label": "ab"[n % 2]} for n in range(6)]
        lines = "\n".join(json.dumps(row) for row in rows).encode()
        asked = {"id": "a", "question": "When?", "answers": [{"text": "1066", "answer_start": 10}]}
        other = {"id": "b", "question": "Who?", "answers": [], "is_impossible": True}
        squad = {
            "data": [{"title": "t", "paragraphs": [{"context": "It was in 1066 .", "qas": [asked, other]}]}]
        }
        table = b"text,label\n" + b"\n".join(b'"a film, %d",%d' % (n, n % 2) for n in range(6))
        asking = b"question,context,answers\nWhen?,In 1066.,1066\nWho?,In 1066.,\n"
        made = [
            b"\x00" + table,
            b"\x01" + table.replace(b",", b"\t"),
            b"\x02" + lines,
            b"\x03" + json.dumps(rows).encode(),
            b"\x84" + asking,
            b"\x85" + json.dumps(squad).encode(),
        ]
        made += parquet(rows)
    else:
        made = [b"positive\x01negative\x00**Positive**.", b"yes\x00no answer at all", b"\x00"]
    for index, data in enumerate(made):
        (folder / f"seed-{index}").write_bytes(data)


def parquet(rows: list[dict[str, str]]) -> list[bytes]:
    """The rows as small Parquet files, plain and compressed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = []
    for compression in ("none", "zstd"):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows), sink, compression=compression)
        made.append(b"\x04" + sink.getvalue().to_pybytes())
    return made


def keep_findings(run: Callable[[bytes], None], prefix: str) -> Callable[[bytes], None]:
    """The target, which goes on after a finding: the bytes and the traceback of the first of each kind."""
    seen: set[tuple[str, ...]] = set()

    def go_on(data: bytes) -> None:
        try:
            if data:  # the first byte chooses what is tried
                run(data)
        except Exception as error:
            lines = traceback.extract_tb(error.__traceback__)[-3:]
            kind = (type(error).__name__, *(f"{line.filename}:{line.lineno}" for line in lines))
            if kind not in seen:
                seen.add(kind)
                Path(f"{prefix}{len(seen)}").write_bytes(data)
                Path(f"{prefix}{len(seen)}.txt").write_text(traceback.format_exc(), "utf-8", "replace")

    return go_on


def fuzz(target: str, seconds: int, folder: Path) -> None:
    """Fuzz one target in this process, which libFuzzer then ends."""
    import atheris

    from tests.fuzz.json_mutations import mutate_json

    with atheris.instrument_imports(include=["tuneproof", "ruamel", "tests.fuzz", "csv", "json"]):
        import ruamel.yaml  # noqa: F401  it is loaded when it is used, too late to be instrumented

        from tests.fuzz.file_targets import FILES
        from tests.fuzz.targets import TARGETS
    run = FILES[target][0] if target in FILES else TARGETS[target]
    (folder / target).mkdir(parents=True, exist_ok=True)
    seeds(target, folder / target)
    for file in (folder / target).glob("seed-*"):
        run(file.read_bytes())  # what is imported late takes no part of the memory
    limit = psutil.Process().memory_info().vms + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    options = [
        f"-max_total_time={seconds}",
        "-timeout=100",
        "-rss_limit_mb=3000",
        f"-max_len={65_536 if target in FILES else 8192}",
        f"-artifact_prefix={folder}/{target}-finding-",
        "-print_final_stats=1",
    ]
    mutators = {}
    if TOKENS[target]:  # libFuzzer ends at an empty dictionary
        words = folder / f"{target}.words"
        words.write_text("".join(f'"{token}"\n' for token in TOKENS[target]), "utf-8")
        options.append(f"-dict={words}")
    else:
        mutators["custom_mutator"] = lambda data, size, seed: mutate_json(data, size, seed, atheris.Mutate)
    run = keep_findings(run, f"{folder}/{target}-finding-")
    atheris.Setup([sys.argv[0], *options, str(folder / target)], run, **mutators)
    atheris.Fuzz()


def main() -> int:
    """Every target for its share of the minutes."""
    if sys.argv[1] == "one":
        fuzz(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
        return 0
    from tests.fuzz.targets import FOLDER, SHARED_MEMORY  # in the other process it is instrumented

    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp(prefix="fuzz-"))
    seconds = max(1, round(float(sys.argv[1]) * 60 / len(TOKENS)))
    failed = 0
    for target in TOKENS:
        words = [sys.executable, "-m", "tests.fuzz", "one", target, str(seconds), str(folder)]
        with tempfile.TemporaryDirectory(dir=SHARED_MEMORY, prefix="fuzz-") as work:
            environment = {**os.environ, FOLDER: work}
            done = subprocess.run(
                words, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, check=False
            )
        runs = re.findall(r"number_of_executed_units: (\d+)|Done (\d+) runs", done.stderr)
        count = max((int(a or b) for a, b in runs), default=0)
        findings = len(list(folder.glob(f"{target}-finding-*.txt")))
        rate = f"{count:,} executions in {seconds} s ({count / seconds:.0f} per second)"
        print(f"{target}: {rate}, {findings} findings, exit {done.returncode}", flush=True)
        failed += findings > 0
        if done.returncode:
            failed += 1
            print(done.stderr[-6000:], file=sys.stderr)
    print(f"corpus and findings: {folder}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
