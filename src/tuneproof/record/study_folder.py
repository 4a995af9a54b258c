"""What a file of a study is called, and how a study is read back.

In: a study's directory. Out: paths, and the study as plain values.
Knows nothing of: models, torch, how anything was computed.

    recipe.yaml          the recipe, filled in
    provenance.json      versions, hardware, git state, fingerprints, the command
    items.parquet        id, part (train, dev, test), text, gold, group of every item used,
                         own.<name> for the columns by which the report slices, and of questions
                         asked (see tasks/question_rows.py)
    splits.json          sizes, fingerprints, groups, what was dropped and why
    audit.json           findings, measures and their examples
    arms/<arm>/          one folder an arm; <arm> is model.method.seed made safe for a file system,
                         with .train<size> where it learnt from a sample of train
        arm.json         what it is, how it went, what it cost (see `ArmRecord`)
        ledger.json      parameters, every delta with its reason; memory, predicted beside measured;
                         rate of training beside the device's (see arms/training_speed.py)
        steps.jsonl      one line an optimizer step
        predictions.parquet, dev_predictions.parquet
        scores.json      metric -> {value, low, high, n, method}
        weights/         safetensors and the tokenizer, with a manifest
    changes.json         changes that were accepted, arms that were begun again (see record/changes.py)
    aside/               the folders of arms that were begun again
    study.lock           while a process works here: who
    comparisons.json     {"comparisons": [...], "verdict": {...}}
    report.html, report.json, report.md
"""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneproof.atomic import read_json, sha256_of_text
from tuneproof.errors import RecipeError, RunError

RECIPE = "recipe.yaml"
PROVENANCE = "provenance.json"
ITEMS = "items.parquet"
OWN = "own."  # begins the names of a task's own columns in items.parquet
SPLITS = "splits.json"
AUDIT = "audit.json"
ARMS = "arms"
ARM = "arm.json"
LEDGER = "ledger.json"
STEPS = "steps.jsonl"
PREDICTIONS = "predictions.parquet"
DEV_PREDICTIONS = "dev_predictions.parquet"
SCORES = "scores.json"
WEIGHTS = "weights"
CHECKPOINTS = "checkpoints"
JOURNAL = "journal"
FACTS = "facts.json"
CHANGES = "changes.json"
ASIDE = "aside"
COMPARISONS = "comparisons.json"
REPORT_HTML = "report.html"
REPORT_JSON = "report.json"
REPORT_MD = "report.md"
DEVICES = re.compile(r"(?i)con|prn|aux|nul|(com|lpt)[0-9]")


def slug(name: str) -> str:
    """A file name from any name: letters, digits, dot, dash, underscore; at most 80 characters.

    What Windows keeps for devices (con, nul, com1) gets an underscore in front.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "arm"
    return f"_{plain}" if DEVICES.fullmatch(plain.partition(".")[0]) else plain


def arm_folder(study: Path, model: str | None, name: str, seed: int | None, size: int | None = None) -> Path:
    """Where an arm's files are: arms/<model>.<name>.train<size>.seed<seed>, without what it has not.

    Where that is no file name, or a dot in the arm's name makes it another arm's, a checksum of the
    parts ends it: two arms never share a folder.
    """
    parts = [part for part in (model, name) if part]
    if size is not None:
        parts.append(f"train{size}")
    if seed is not None:
        parts.append(f"seed{seed}")
    whole = ".".join(parts)
    plain = slug(whole)
    if plain != whole or "." in name:
        plain = f"{plain[:70]}-{sha256_of_text(repr((model, name, size, seed)))[:8]}"
    return Path(study) / ARMS / plain


def refuse_foreign(folder: Path) -> None:
    """Raises RecipeError where a study's folder is a link or another user's, RunError where it cannot be."""
    try:
        linked, there = folder.is_symlink(), folder.exists()
    except OSError as error:
        raise RunError(
            str(folder),
            f"cannot be a study's folder: {error.strerror}.",
            do="Name another folder with --out.",
        ) from error
    if linked:
        raise RecipeError(
            str(folder),
            f"is a link to {folder.resolve()}.",
            "A study is written into a folder.",
            "Name that folder itself with --out.",
        )
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    if user and there and folder.stat().st_uid != user:
        raise RecipeError(
            str(folder),
            "belongs to another user, who could change what is written there.",
            do="Name another folder with --out.",
        )


@dataclass(frozen=True)
class ArmRecord:
    """One arm read back.

    `about` is arm.json: arm (its name in the recipe), model (None for a baseline), method, kind
    ("baseline", "prompt" or "tuned"), seed (None where the method has no chance in it), train_size
    (None: the whole of train), options,
    status ("done", "failed" or "impossible"), reason, time_s {stage: seconds}, items_per_s,
    peak_memory_bytes, chosen {what dev chose: value}, encoding {max_length, truncated_items,
    padding_share}, prompts [{id, text, tokens [...], supervised [true or false, ...]}], notes [...].
    """

    folder: Path
    about: dict[str, Any]
    ledger: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Model and name, as a table shows it."""
        model = self.about.get("model")
        return f"{model} {self.about['arm']}" if model else str(self.about["arm"])


@dataclass(frozen=True)
class StudyRecord:
    """A study read back from its directory alone.

    `arms` learnt from the whole of train; `sampled` are the same arms on samples of it.
    """

    folder: Path
    recipe_text: str
    provenance: dict[str, Any]
    splits: dict[str, Any]
    audit: dict[str, Any]
    arms: list[ArmRecord]
    comparisons: dict[str, Any]
    sampled: list[ArmRecord] = field(default_factory=list)


def _steps(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = path.read_text("utf-8").split("\n")
    whole = lines[:-1]  # what a line end does not close was cut off while it was written
    try:
        return [json.loads(line) for line in whole if line.strip()]
    except ValueError as error:
        raise RunError(str(path), f"is not lines of JSON: {error}.", do="Run the arm again.") from None


def _object(path: Path, *needed: str) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise RunError(str(path), "is not a JSON object.", do="Run the study again.")
    lacking = [name for name in needed if name not in value]
    if lacking:
        raise RunError(str(path), f"has no {lacking[0]}.", do="Run the arm again.")
    return value


def _optional(path: Path) -> dict[str, Any]:
    return _object(path) if path.is_file() else {}


def read_arm(folder: Path) -> ArmRecord:
    """Read one arm's folder.

    Raises: RunError where it holds no arm.
    """
    if not (folder / ARM).is_file():
        raise RunError(
            str(folder), f"holds no arm ({ARM} is missing).", do="Name its folder: STUDY/arms/ARM."
        )
    return ArmRecord(
        folder=folder,
        about=_object(folder / ARM, "arm", "status"),
        ledger=_optional(folder / LEDGER),
        scores=_optional(folder / SCORES),
        steps=_steps(folder / STEPS),
    )


def read_study(folder: Path) -> StudyRecord:
    """Read a study's directory; arms come in the order of the recipe, finished or not.

    Raises: RunError where the folder holds no study.
    """
    folder = Path(folder)
    for names in ((RECIPE,), (SPLITS, ARMS)):
        if not any((folder / name).exists() for name in names):
            raise RunError(
                str(folder),
                f"holds no study ({names[0]} is missing).",
                do="Name the folder that `tuneproof run` printed.",
            )
    arms = [read_arm(path.parent) for path in (folder / ARMS).glob(f"*/{ARM}")]
    arms.sort(key=lambda arm: (arm.about.get("order", 0), arm.about.get("seed") or 0))
    return StudyRecord(
        folder=folder,
        recipe_text=(folder / RECIPE).read_text("utf-8"),
        provenance=_optional(folder / PROVENANCE),
        splits=_optional(folder / SPLITS),
        audit=_optional(folder / AUDIT),
        arms=[arm for arm in arms if not arm.about.get("train_size")],
        comparisons=_optional(folder / COMPARISONS),
        sampled=[arm for arm in arms if arm.about.get("train_size")],
    )


@dataclass(frozen=True)
class Items:
    """The items of one part as parallel lists; all empty where the study has no items file.

    `own` holds the task's own columns by name; `asked` is empty unless the items are questions.
    """

    ids: list[str]
    texts: list[str]
    golds: list[str]
    groups: list[str]
    own: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


def read_items(folder: Path, part: str = "test") -> Items:
    """Read the texts of one part of a study; a study that was moved without them is still a study.

    Raises: RunError where the file is there and holds no items.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(folder) / ITEMS
    if not path.is_file():
        return Items([], [], [], [])
    try:
        table = pq.read_table(path, filters=[("part", "=", part)])
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        return Items(
            ids=columns["id"],
            texts=columns["text"],
            golds=columns["gold"],
            groups=columns["group"],
            own={name.removeprefix(OWN): columns[name] for name in columns if name.startswith(OWN)},
            asked=columns.get("asked", []),
        )
    except (pa.ArrowInvalid, KeyError) as error:
        raise RunError(str(path), f"is not a file of items ({error}).", do="Run the study again.") from None
