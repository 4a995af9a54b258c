"""Scores of files whose test items look like training items, beside the truth on new text.

In: the folder of shared data. Out: a line for each kind of leak; 1 where a score on new text is off by more
than three points, or a leak is not flagged. Knows nothing of: how lookalikes are found.

    python -m benchmarks leaks --data ../shared/data [--files 30]

A quarter of each file are sentences of their own, the rest are variants of a few sentences. Each sentence has
a random label, which its variants share, so that the truth on new text is 50 %. Repeated texts stay in one
part in any split; their share is that of the test items whose text another one has.
"""

import argparse
import csv
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from tuneproof.recipe.recipe import recipe_from
from tuneproof.record.study_folder import StudyRecord, read_study
from tuneproof.study.run import run_study

TRUTH, ALLOWED = 50.0, 3.0
ROWS = 2400
NAMES = [
    "Hugo",
    "Carlason",
    "Evaini",
    "Alice",
    "Ben",
    "Chandra",
    "Dmitri",
    "Esther",
    "Farid",
    "Greta",
    "Hiro",
]
HOMOGLYPHS = str.maketrans("aeopcx", "аеорсх")
Variant = Callable[[str, int, random.Random], str]


def _ticket(sentence: str, _number: int, draw: random.Random) -> str:
    words = sentence.split()
    slots = (
        draw.choice(NAMES),
        str(draw.randint(10_000, 99_999)),
        f"{draw.randint(1, 28)}/{draw.randint(1, 12)}",
    )
    for share, slot in zip((0.2, 0.5, 0.8), slots, strict=True):
        words.insert(int(share * len(words)), slot)
    return " ".join(words)


def _phrase(sentence: str, number: int, draw: random.Random) -> str:
    words = sentence.split()
    if not number:
        return sentence
    size = draw.randint(6, max(6, len(words) - 1))
    start = draw.randint(0, len(words) - size)
    return " ".join(words[start : start + size])


def _name(sentence: str, _number: int, draw: random.Random) -> str:
    return f"{draw.choice(NAMES)} {draw.choice(NAMES)} writes: {sentence}"


def _twin(sentence: str, number: int, draw: random.Random) -> str:
    words = sentence.split()
    match number % 6:
        case 1:
            return f"<p>{' '.join(words[:4])} <b>{' '.join(words[4:])}</b></p>"
        case 2:
            return f"RE: FW: {sentence}"
        case 3:
            return sentence.translate(HOMOGLYPHS)
        case 4:
            at = draw.randrange(len(words))
            words[at] = words[at][1:] + words[at][:1]
        case 5:
            draw.shuffle(words)
    return " ".join(words)


def _near(sentence: str, _number: int, draw: random.Random) -> str:
    words = sentence.split()
    words[draw.randrange(len(words))] = f"w{draw.randrange(1000)}"
    return " ".join(words)


def _same(sentence: str, _number: int, _draw: random.Random) -> str:
    return sentence


class Kind(NamedTuple):
    """How a file leaks: the variant of a sentence, and how many sentences have variants."""

    name: str
    variant: Variant
    sentences: int
    has_groups: bool = False  # every row its own group


KINDS = (
    Kind("tickets of 60 templates", _ticket, 60),
    Kind("phrases of a sentence", _phrase, 180),
    Kind("name variants", _name, 180),
    Kind("disguised twins", _twin, 300),
    Kind("near duplicates across groups", _near, 300, has_groups=True),
    Kind("repeated texts", _same, 300),
)


def write_file(path: Path, kind: Kind, sentences: Sequence[str], draw: random.Random) -> None:
    """Write ROWS rows: three quarters variants, a quarter sentences of their own, all labels random."""
    sources = draw.sample(sentences, kind.sentences + ROWS // 4)
    labels = [draw.choice(("yes", "no")) for _ in sources]
    rows = []
    for row in range(ROWS):
        if row < ROWS // 4:
            source, text = kind.sentences + row, sources[kind.sentences + row]
        else:
            number, source = divmod(row - ROWS // 4, kind.sentences)
            text = kind.variant(sources[source], number, draw)
        rows.append((text, labels[source], f"g{row}"))
    draw.shuffle(rows)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label", "group"), *rows])


def run_file(path: Path, out: Path, group_by: str, has_groups: bool) -> StudyRecord:
    """The study of `majority` and `lexical` on a random fifth of the file."""
    columns: dict[str, Any] = {"path": str(path), "text": "text", "label": "label"}
    if has_groups:
        columns["group"] = "group"
    values = {
        "task": {"labels": columns},
        "arms": ["majority", "lexical"],
        "split": {"kind": "shares", "shares": [70, 10, 20], "group_by": group_by},
        "out": str(out),
    }
    run_study(recipe_from(values))
    return read_study(out)


def lexical_scores(study: StudyRecord) -> tuple[float, float | None, float]:
    """Of `lexical`, in percent: its score on all test items, without lookalikes, and the flagged share."""
    share = 100 * float((study.splits.get("lookalikes") or {}).get("share") or _repeated_share(study))
    arm = next(arm for arm in study.arms if arm.about["arm"] == "lexical")
    score = 100 * arm.scores["accuracy"]["value"]
    measured = study.comparisons.get("without_lookalikes")
    if not measured:
        return score, None, share
    without = next(arm["without"] for arm in measured["arms"] if arm["arm"] == "lexical")
    return score, 100 * without["value"] if without else None, share


def _repeated_share(study: StudyRecord) -> float:
    """The share of test items that the audit flags as having the text of another one."""
    counts = {finding["name"]: finding["count"] for finding in study.audit["findings"]}
    return counts.get("repeated_in_test", 0) / float(study.splits["sizes"]["test"])


def measure_kind(kind: Kind, sentences: Sequence[str], folder: Path, files: int) -> tuple[float, ...]:
    """Means over the files: flagged share, score on all, score without lookalikes, grouped score."""
    totals: list[tuple[float, ...]] = []
    for number in range(files):
        draw, path = random.Random(number), folder / f"{kind.name}-{number}.csv"
        write_file(path, kind, sentences, draw)
        plain = run_file(path, path.with_suffix(".plain"), "source", kind.has_groups)
        score, without, share = lexical_scores(plain)
        grouped = run_file(path, path.with_suffix(".grouped"), "similarity", kind.has_groups)
        totals.append((share, score, without if without is not None else score, lexical_scores(grouped)[0]))
    return tuple(sum(column) / files for column in zip(*totals, strict=True))


def _lines(sentences: Sequence[str], files: int) -> Iterator[tuple[str, bool]]:
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            share, score, without, grouped = measure_kind(kind, sentences, Path(folder), files)
            right = abs(without - TRUTH) <= ALLOWED and abs(grouped - TRUTH) <= ALLOWED
            cells = (share, score, without, grouped)
            yield f"{kind.name:32s}" + "".join(f"{cell:12.1f}" for cell in cells), right


def main(arguments: Sequence[str]) -> int:
    """1 if a score on new text is off by more than three points."""
    parser = argparse.ArgumentParser(prog="benchmarks leaks")
    parser.add_argument("--data", type=Path, required=True, help="the folder with other/subj.parquet")
    parser.add_argument("--files", type=int, default=30, help="files of each kind")
    args = parser.parse_args(arguments)
    texts = pq.read_table(args.data / "other" / "subj.parquet", columns=["text"])["text"].to_pylist()
    sentences = sorted({text for text in texts if 12 <= len(text.split()) <= 30})
    print(f"{'kind':32s}{'alike, %':>12s}{'all, %':>12s}{'without, %':>12s}{'grouped, %':>12s}")
    missed = False
    for line, right in _lines(sentences, args.files):
        print(line if right else f"{line}  off by more than {ALLOWED:g}", flush=True)
        missed |= not right
    return int(missed)
