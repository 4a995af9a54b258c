"""Whether the diagnosis of under-training is right: false alarms on finished arms, misses on cut-off ones.

In: real data, two small real models. Out: studies in a folder, a table of all arms with the truth about each.
Knows nothing of: how a finding is made.

    python -m benchmarks diagnosis --shared FOLDER [--out FOLDER] [--rows-seed 1] [--sets trec,...]

Each arm is trained for several numbers of epochs, each with its own schedule. It was cut off if one of the
longer trainings has a log loss on test that is lower by CUT_OFF, and finished if none is lower by FINISHED;
what is between counts for neither. The thresholds were chosen with --rows-seed 0 (see RESULTS.md).
"""

import argparse
import csv
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tuneproof.inference.prediction import read_predictions
from tuneproof.recipe.recipe import recipe_from
from tuneproof.record.diagnose import is_under_trained
from tuneproof.record.diagnoses import diagnose_arm
from tuneproof.record.study_folder import read_study
from tuneproof.study.run import run_study

ROWS, SHARES = 660, [40, 12, 48]  # train, dev, test
CUT_OFF, FINISHED = 0.05, 0.02  # of the test log loss
DATA = {
    "trec": ("other/trec.parquet", "text", ("ABBR",)),
    "subj": ("other/subj.parquet", "text", ()),
    "cola": ("other/cola.parquet", "text", ()),
    "sst2": ("sst2/sst_sentences_train6920.parquet", "sentence", ()),
}
ADAPTERS, SLOW = {"learning_rate": 1e-3}, {"learning_rate": 2e-4, "name": "lora-slow"}
MINILM = {
    "trec": [{"lora": ADAPTERS}, {"lora": SLOW}],
    "subj": [{"lora": SLOW}, {"full": {"learning_rate": 5e-5}}],
    "cola": [{"lora": ADAPTERS}, {"full": {"learning_rate": 5e-5}}],
    "sst2": [{"lora": ADAPTERS}, {"lp-ft": {"learning_rate": 5e-5}}],
}
STORIES = [
    {"full": {"learning_rate": 1e-3}},
    {"lora": {"learning_rate": 3e-3}},
    {"lora": {"learning_rate": 3e-3, "name": "words", "objective": "words"}},
]
LADDERS = {"stories260k": (2, 4, 8, 16), "minilm-l6": (2, 6, 12)}  # epochs; the longest only tells the truth
MAX_LENGTH = {"stories260k": 128, "minilm-l6": 48}


@dataclass(frozen=True)
class Case:
    """One arm of the ladder, what the diagnosis says and how much longer training gains (None: unknown)."""

    label: str
    epochs: int
    test_loss: float
    under_trained: bool
    findings: str
    gain: float | None = None

    @property
    def truth(self) -> str:
        """What is true of the arm."""
        if self.gain is None or FINISHED <= self.gain < CUT_OFF:
            return "unclear"
        return "cut off" if self.gain >= CUT_OFF else "finished"

    @property
    def verdict(self) -> str:
        """Whether the diagnosis is right."""
        if self.truth == "unclear":
            return ""
        if self.under_trained == (self.truth == "cut off"):
            return "right"
        return "FALSE ALARM" if self.under_trained else "MISS"


def write_rows(shared: Path, out: Path, name: str, seed: int) -> Path:
    """Some rows of a data set, drawn by the seed, as a file."""
    file, column, left_out = DATA[name]
    rows = pq.read_table(shared / "data" / file, columns=[column, "label"]).to_pylist()
    labels = {row[column]: str(row["label"]) for row in rows if row["label"] not in left_out}
    path = out / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(
            [("text", "label"), *random.Random(seed).sample(sorted(labels.items()), ROWS)]
        )
    return path


def run_rung(rows: Path, model: Path, arms: Sequence[Any], epochs: int, out: Path) -> list[Case]:
    """Train the arms for so many epochs, and read what the diagnosis says."""
    values = {
        "task": {"labels": {"path": str(rows), "text": "text", "label": "label"}},
        "models": [str(model)],
        "arms": list(arms),
        "seeds": [0],
        "split": {"kind": "shares", "shares": SHARES},
        "encode": {"max_length": MAX_LENGTH[model.name]},
        "train": {"epochs": epochs, "min_steps": 0, "self_test": False, "checkpoint_minutes": None},
        "compute": {"device": "cpu", "threads": 1},
        "out": str(out),
    }
    run_study(recipe_from(values))
    study, cases = read_study(out), []
    for arm in study.arms:
        findings = diagnose_arm(arm, study.splits)
        test = read_predictions(arm.folder / "predictions.parquet")
        gold_N = test.probabilities_NC[np.arange(len(test)), test.gold_N]  # type: ignore[union-attr, index]
        loss = float(-np.log(np.maximum(gold_N, 1e-12)).mean())
        names = ", ".join(finding.name for finding in findings)
        label = f"{rows.stem} {model.name} {arm.about['arm']}"
        cases.append(Case(label, epochs, loss, is_under_trained(findings), names))
    return cases


def with_gains(cases: Sequence[Case]) -> list[Case]:
    """The cases, with what the longer trainings of the same arm gain; the longest of each are left out."""
    judged = []
    for case in cases:
        longer = [c.test_loss for c in cases if c.label == case.label and c.epochs > case.epochs]
        if longer:
            gain = (case.test_loss - min(longer)) / case.test_loss
            judged.append(Case(**{**vars(case), "gain": gain}))
    return judged


def print_table(cases: Sequence[Case]) -> int:
    """Every case, then the counts. Returns 1 where more than one in ten is wrong on either side."""
    for case in sorted(cases, key=lambda c: (c.label, c.epochs)):
        gain = f"{100 * case.gain:+6.1f} %" if case.gain is not None else ""
        head = f"{case.label:32} {case.epochs:3} epochs  longer gains {gain}  {case.truth:9}"
        print(f"{head} {case.verdict:12} {case.findings}")
    wrong = 0
    for truth, mistake, noun in (("finished", "FALSE ALARM", "false alarms"), ("cut off", "MISS", "misses")):
        arms = [case for case in cases if case.truth == truth]
        mistakes = sum(case.verdict == mistake for case in arms)
        wrong += mistakes > len(arms) / 10
        print(f"{noun}: {mistakes} of {len(arms)} arms that were {truth}")
    print(f"unclear: {sum(case.truth == 'unclear' for case in cases)}")
    return int(wrong > 0)


def main(arguments: Sequence[str]) -> int:
    """Train the ladders and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks diagnosis")
    parser.add_argument("--shared", type=Path, required=True, help="a folder with data/ and models/")
    parser.add_argument("--out", type=Path, help="keep the studies here; finished ones are not repeated")
    parser.add_argument("--rows-seed", type=int, default=1, help="draws the rows")
    parser.add_argument("--sets", default=",".join(DATA), help="data sets")
    parser.add_argument("--models", default=",".join(LADDERS), help="models")
    args = parser.parse_args(arguments)
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        out = (args.out or Path(folder)) / f"rows-{args.rows_seed}"
        for name in args.models.split(","):
            for data in args.sets.split(","):
                rows = write_rows(args.shared, out, data, args.rows_seed)
                arms = STORIES if name == "stories260k" else MINILM[data]
                for epochs in LADDERS[name]:
                    study = out / f"{data}-{name}-{epochs}"
                    cases += run_rung(rows, args.shared / "models" / name, arms, epochs, study)
                    print(json.dumps({"study": study.name}), flush=True)
    return print_table(with_gains(cases))
