"""EM and F1 of SQuAD v2's dev questions: ours and a plain loop by the official script's rules in turn.

In: the official dev file and a system's predictions. Out: a ratio of process-CPU time.
Knows nothing of: models, files of studies.

    python -m benchmarks squad --data FOLDER [--times 5]

The loop compares every answer with every gold, twice, character by character, as evaluation scripts do.
"""

import argparse
import collections
import gzip
import json
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.alternating import row, timed, widest

BAR = 1e-9
Questions = list[tuple[tuple[str, ...], str]]


def _questions(folder: Path) -> Questions:
    dev = json.loads(gzip.decompress((folder / "dev-v2.0.json.gz").read_bytes()))
    predictions = json.loads(gzip.decompress((folder / "predictions_bert_single.json.gz").read_bytes()))
    return [
        (tuple(gold["text"] for gold in entry["answers"]), predictions[entry["id"]])
        for article in dev["data"]
        for paragraph in article["paragraphs"]
        for entry in paragraph["qas"]
    ]


def _plain(questions: Questions) -> list[float]:
    """[EM, F1] in percent."""

    articles = re.compile(r"\b(a|an|the)\b")
    punctuation = set(string.punctuation)

    def normal(text: str) -> str:
        letters = "".join(sign for sign in text.lower() if sign not in punctuation)
        return " ".join(articles.sub(" ", letters).split())

    def f1(gold: str, answer: str) -> float:
        golds, words = normal(gold).split(), normal(answer).split()
        same = sum((collections.Counter(golds) & collections.Counter(words)).values())
        if not golds or not words:
            return float(golds == words)
        return 2 * same / (len(golds) + len(words)) if same else 0.0

    exact = overlap = 0.0
    for golds, answer in questions:
        options = [gold for gold in golds if normal(gold)] or [""]
        exact += max(float(normal(gold) == normal(answer)) for gold in options)
        overlap += max(f1(gold, answer) for gold in options)
    return [100 * exact / len(questions), 100 * overlap / len(questions)]


def _ours(questions: Questions) -> list[float]:
    from tuneproof.metrics import METRICS, evaluate
    from tuneproof.metrics.matching import best_of
    from tuneproof.metrics.metric import AnswerItems

    best_of.cache_clear()
    items = AnswerItems([golds for golds, _ in questions], [answer for _, answer in questions])
    return [100 * evaluate(METRICS[name], items) for name in ("squad_exact", "squad_f1")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the ratio; 1 where the figures differ."""
    parser = argparse.ArgumentParser(prog="benchmarks squad")
    parser.add_argument("--data", required=True, help="a folder with dev-v2.0.json.gz and predictions")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args(arguments)
    questions = _questions(Path(options.data))
    scores: Any = _ours(questions)
    print(f"{len(questions):,} questions: EM {scores[0]:.6f}, F1 {scores[1]:.6f}")
    agreed = row(
        "  plain loop",
        options.times,
        lambda: timed(lambda: _ours(questions)),
        lambda: timed(lambda: _plain(questions)),
        2.0,
        widest,
        BAR,
    )
    return 0 if agreed else 1
