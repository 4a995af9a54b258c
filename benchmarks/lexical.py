"""How much of a row the character sequences of the lexical baseline get beside its words.

In: the folder of shared data. Out: a line a data set: the dev loss of words alone and of each share.
Knows nothing of: studies, test items.

    python -m benchmarks lexical --data ../shared/data

A fifth of at most 5,000 rows (IMDB: 2,500) is dev. Of SST-2 and IMDB they are training rows; the other files
have no test part, so that rows which a study tests may be among them.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tuneproof.methods.lexical import LexicalOptions, _Fitter
from tuneproof.methods.lexical_features import character_features, word_features
from tuneproof.methods.method import LabelledTexts

SHARES = (0.1, 0.2, 0.35, 0.5)
DATA = {  # file, text column, rows
    "TREC": ("other/trec.parquet", "text", 5000),
    "CoLA": ("other/cola.parquet", "text", 5000),
    "Subj": ("other/subj.parquet", "text", 5000),
    "SST-2": ("sst2/sst_sentences_train6920.parquet", "sentence", 5000),
    "IMDB": ("imdb/train.parquet", "text", 2500),
}


def dev_losses(path: Path, column: str, size: int) -> list[float]:
    """The dev loss of words alone, then of words and characters with each share."""
    rows = pq.read_table(path, columns=[column, "label"]).to_pylist()
    random.Random(5).shuffle(rows)
    rows = rows[:size]
    labels = sorted({str(row["label"]) for row in rows})
    texts = [row[column] for row in rows]
    label_N = np.array([labels.index(str(row["label"])) for row in rows])
    middle = len(texts) * 4 // 5
    train, dev = (
        LabelledTexts(texts[:middle], label_N[:middle]),
        LabelledTexts(texts[middle:], label_N[middle:]),
    )
    options, parts = LexicalOptions(), (train.texts, dev.texts, dev.texts[:1])
    words, characters = word_features(options.ngrams, *parts), character_features(options.characters, *parts)
    assert words is not None
    assert characters is not None
    alone = _Fitter("words", words, train, dev, len(labels)).best(options.strengths)
    both = (_Fitter("both", words.beside(characters, s), train, dev, len(labels)) for s in SHARES)
    return [alone.loss, *(fitter.best_from(alone.strength, options.strengths).loss for fitter in both)]


def main(arguments: Sequence[str]) -> int:
    """0; prints the losses and their mean."""
    parser = argparse.ArgumentParser(prog="benchmarks lexical")
    parser.add_argument("--data", type=Path, required=True, help="the folder with other/, sst2/ and imdb/")
    args = parser.parse_args(arguments)
    print(f"{'data':8s}{'words':>9s}" + "".join(f"{share:9g}" for share in SHARES))
    losses = []
    for name, (file, column, size) in DATA.items():
        losses.append(dev_losses(args.data / file, column, size))
        print(f"{name:8s}" + "".join(f"{loss:9.4f}" for loss in losses[-1]), flush=True)
    print(f"{'mean':8s}" + "".join(f"{loss:9.4f}" for loss in np.mean(losses, axis=0)))
    return 0
