"""How many planted label errors are among the most suspect items.

In: the folder of shared data, a sentence encoder. Out: a line for each data set and model.
Knows nothing of: studies.

    python -m benchmarks label-errors --data ../shared/data --model ../shared/models/minilm-l6

Five per cent of the labels of TREC and of SST-2's whole sentences are replaced by another one. As many
items as were changed are looked at, so that precision is recall: "at 5 %". What is suspected without knowing
the number follows with its precision and recall. An error that the data had before counts as a false alarm.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from tuneproof.data.stratify import assign_parts
from tuneproof.methods.cross_fit import cross_fit_features, cross_fit_words
from tuneproof.models.pooled_features import pool
from tuneproof.score.label_errors import suspect

SHARE, FOLDS, SEEDS, BATCH = 0.05, 5, (0, 1, 2), 128
DATA = {"TREC": ("other/trec.parquet", "text"), "SST-2": ("sst2/sst_sentences_train6920.parquet", "sentence")}


def plant(labels_N: NDArray[np.int64], classes: int, seed: int) -> NDArray[np.int64]:
    """The labels with SHARE of them replaced by another one, each as likely."""
    random = np.random.default_rng(seed)
    changed = random.permutation(len(labels_N))[: round(SHARE * len(labels_N))]
    planted_N = labels_N.copy()
    planted_N[changed] = (labels_N[changed] + random.integers(1, classes, len(changed))) % classes
    return planted_N


def features_of(model_folder: Path, texts: Sequence[str]) -> NDArray[Any]:
    """Mean-pooled features of the frozen encoder."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModel.from_pretrained(model_folder).eval()
    order = np.argsort([len(text) for text in texts])
    features_ND = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(texts), BATCH):
            rows = order[start : start + BATCH]
            batch = [texts[row] for row in rows]
            inputs = tokenizer(batch, padding=True, truncation=True, max_length=256, return_tensors="pt")
            states_BTD = model(**inputs).last_hidden_state
            features_ND[rows] = pool(states_BTD, inputs["attention_mask"], "mean").numpy()
    return features_ND


def measure(
    probabilities_NC: NDArray[np.float64], planted_N: NDArray[Any], true_N: NDArray[Any]
) -> list[float]:
    """Precision at 5 %, then the number that is suspected, its precision and its recall."""
    suspicion, wrong_N = suspect(probabilities_NC, planted_N), planted_N != true_N
    top = np.argsort(suspicion.own_N, kind="stable")[: wrong_N.sum()]
    hits = wrong_N[suspicion.order].sum()
    size = len(suspicion.order)
    return [wrong_N[top].mean(), size / len(true_N), hits / max(1, size), hits / wrong_N.sum()]


def measure_planted(
    texts: Sequence[str], true_N: NDArray[np.int64], classes: int, features_ND: NDArray[Any]
) -> dict[str, list[list[float]]]:
    """The figures of `measure` by model, for every seed of the planting."""
    results: dict[str, list[list[float]]] = {}
    for seed in SEEDS:
        planted_N = plant(true_N, classes, seed)
        random = np.random.default_rng(0)
        fold_N = assign_parts(planted_N, np.arange(len(texts)), [1.0] * FOLDS, random)
        words = cross_fit_words(texts, planted_N, fold_N, classes)
        assert words is not None
        features = cross_fit_features(features_ND, planted_N, fold_N, classes)
        models = {"words": words, "features": features, "both": (words + features) / 2}
        for model, probabilities_NC in models.items():
            results.setdefault(model, []).append(measure(probabilities_NC, planted_N, true_N))
    return results


def main(arguments: Sequence[str]) -> int:
    """0; prints a line for each data set and model, the mean over the seeds of the planting."""
    parser = argparse.ArgumentParser(prog="benchmarks label-errors")
    parser.add_argument("--data", type=Path, required=True, help="the folder with other/ and sst2/")
    parser.add_argument("--model", type=Path, required=True, help="a sentence encoder")
    args = parser.parse_args(arguments)
    print(f"{'data':8}{'models':22}{'at 5 %':>8}{'suspected':>11}{'precision':>11}{'recall':>8}")
    for name, (file, column) in DATA.items():
        started = time.perf_counter()
        rows = pq.read_table(args.data / file).to_pylist()
        texts, labels = [row[column] for row in rows], sorted({str(row["label"]) for row in rows})
        true_N = np.array([labels.index(str(row["label"])) for row in rows])
        features_ND = features_of(args.model, texts)
        results = measure_planted(texts, true_N, len(labels), features_ND)
        for model, values in results.items():
            at, size, precision, recall = 100 * np.mean(values, axis=0)
            print(f"{name:8}{model:22}{at:7.1f}%{size:10.1f}%{precision:10.1f}%{recall:7.1f}%", flush=True)
        print(f"{name:8}{time.perf_counter() - started:.0f} s", flush=True)
    return 0
