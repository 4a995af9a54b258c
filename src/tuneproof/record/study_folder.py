"""The names of a study's files, and reading them back.

In: a study's directory. Out: paths, and the study as plain values.
Knows nothing of: models, torch, how anything was computed.

    recipe.yaml          the recipe, filled in
    provenance.json      format, versions, hardware, git state, source of the data, the command
    items.parquet        every item used: id, part (train, dev, test), text, gold, group, own.<name>
                         for the columns by which the report slices, and question for question
                         answering (see tasks/question_rows.py)
    splits.json          sizes, fingerprints, groups, dropped rows with the reason
    audit.json           findings with their examples
    arms/<arm>/          one folder per arm; <arm> is model.method.seed made safe for a file system,
                         with .train<size> if the arm learnt from a sample of train
        arm.json         identity, status, settings and cost (see `ArmRecord`)
        ledger.json      the pretrained model by group; every delta with its reason; predicted and
                         measured memory; training speed beside the device's peak
                         (see arms/training_speed.py)
        steps.jsonl      one line per optimizer step
        predictions.parquet, dev_predictions.parquet
        scores.json      metric -> {value, low, high, n, method}
        weights/         safetensors and the tokenizer, with a manifest
        replies.jsonl    of an endpoint: every reply, from which a resumed arm goes on
    registration.json    claims, arms and seeds, from before the first result on (see record/registration.py)
    changes.json         accepted changes, restarted and extended arms (see record/changes.py)
    superseded/          the old folders of restarted and extended arms
    study.lock           which process is working here
    progress.json        while it runs: the arm, its stage, time left, messages (see study/progress_file.py)
    forecast.json        predicted time and memory: of the study, of every arm
    comparisons.json     {"comparisons": [...], "verdict": {...}, "diagnoses": [...]}
    exports/             arms in other formats (see publish/export_arm.py)
    label_errors.csv, label_errors.json (after `tuneproof label-errors`; see record/label_errors.py)
    report.html, report.json, report.md, confusions.csv (of arms that give labels)
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneproof.atomic import load_json, read_json, sha256_of_text
from tuneproof.errors import RecipeError, RunError
from tuneproof.recipe.yaml import read_text
from tuneproof.record.file_shapes import check_shape, read_object

FORMAT = 2  # of a study's files; grows when a reader of the old format would misread the new one
CACHE = "cache"
RECIPE = "recipe.yaml"
PROVENANCE = "provenance.json"
ITEMS = "items.parquet"
OWN = "own."  # prefix of a task's own columns in items.parquet
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
SEARCH = "search.json"  # beside the checkpoints: finished trials of an arm that is not finished
RESUME_LOGS = "resume_logs"
FACTS = "facts.json"
CHANGES = "changes.json"
REGISTRATION = "registration.json"
SUPERSEDED = "superseded"
COMPARISONS = "comparisons.json"
FORECAST = "forecast.json"
PROGRESS = "progress.json"
LABEL_ERRORS_CSV = "label_errors.csv"
LABEL_ERRORS_JSON = "label_errors.json"
CONFUSIONS_CSV = "confusions.csv"
REPORT_HTML = "report.html"
REPORT_JSON = "report.json"
REPORT_MD = "report.md"
KEYS_OF_FORMAT_1 = {  # file -> key -> its name in format 2
    ARM: {"sketch": "model_files"},
    LEDGER: {
        "rate": "training_speed",
        "operations_per_token": "flops_per_token",
        "matrix_operations_per_s": "peak_flops_per_s",
        "matrix_share": "mfu",
        "bandwidth_bytes_per_s": "peak_bandwidth_bytes_per_s",
        "bandwidth_share": "bandwidth_utilization",
        "terms": "overhead",
        "sentence": "description",
        "what": "part",
        "why": "reason",
    },
    AUDIT: {"looked_for": "checks", "override": "allowed_by"},
    COMPARISONS: {"whole_adds": "gain_from_full_train"},
}
DEVICES = re.compile(r"(?i)con|prn|aux|nul|(com|lpt)[0-9]")


def further_predictions(name: str) -> str:
    """The file of an arm's predictions of a further test set."""
    return f"predictions.{name}.parquet"


def further_part(name: str) -> str:
    """The part of a further test set in items.parquet."""
    return f"tests.{name}"


def slug(name: str) -> str:
    """A file name from any name: letters, digits, dot, dash, underscore; at most 80 characters.

    Names that Windows reserves for devices (con, nul, com1) get a leading underscore.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "arm"
    return f"_{plain}" if DEVICES.fullmatch(plain.partition(".")[0]) else plain


def arm_folder(study: Path, model: str | None, name: str, seed: int | None, size: int | None = None) -> Path:
    """An arm's folder: arms/<model>.<name>.train<size>.seed<seed>, without the parts that are None.

    If that is not a valid file name, or a dot in the arm's name could make it another arm's, a
    checksum of the parts is appended: two arms never share a folder.
    """
    numbers = [f"{key}{n}" for key, n in (("train", size), ("seed", seed)) if n is not None]
    joined = ".".join([*(part for part in (model, name) if part), *numbers])
    plain = slug(joined)
    if plain != joined or "." in name:
        plain = f"{plain[:70]}-{sha256_of_text(repr((model, name, size, seed)))[:8]}"
    return Path(study) / ARMS / plain


def refuse_foreign(folder: Path) -> None:
    """Raise RecipeError if the folder is a link or another user's, RunError if it cannot be a folder."""
    try:
        is_link, exists = folder.is_symlink(), folder.exists()
    except OSError as error:
        problem = f"cannot be a study's folder: {error.strerror}."
        raise RunError(str(folder), problem, do="Name another folder with --out.") from error
    if is_link:
        problem = f"is a link to {folder.resolve()}."
        allowed = "A study is written into a folder."
        raise RecipeError(str(folder), problem, allowed, "Name that folder itself with --out.")
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    if user and exists and folder.stat().st_uid != user:
        problem = "belongs to another user, who could change what is written there."
        raise RecipeError(str(folder), problem, do="Name another folder with --out.")


@dataclass(frozen=True)
class ArmRecord:
    """One arm read back.

    `about` is arm.json: arm (its name in the recipe), model (None for a baseline), method, kind
    ("baseline", "prompt" or "tuned"), seed (None if the method is deterministic), train_size (None
    for all of train), options, status ("done", "failed" or "impossible"), reason, time_s {stage:
    seconds}, items_per_s, peak_memory_bytes, chosen {setting chosen on dev: value}, search {settings
    {name: [values]}, budget_steps, trials [{settings, rung, steps, dev_loss (null: diverged), time_s,
    kept}], chosen {name: value}} (where settings were searched; options hold the chosen ones), encoding
    {max_length, truncated_items, padding_share}, checkpoint {step, bytes} (kept by an under-trained
    arm, to go on from), prompts [{id, text, tokens [...], supervised [true
    or false, ...]}], notes [...].
    """

    folder: Path
    about: dict[str, Any]
    ledger: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Model and name, as in a table."""
        model = self.about.get("model")
        return f"{model} {self.about['arm']}" if model else str(self.about["arm"])


@dataclass(frozen=True)
class StudyRecord:
    """A study read back from its directory alone.

    `arms` learnt from all of train; `sampled` are the same arms on samples of train.
    """

    folder: Path
    recipe_text: str
    provenance: dict[str, Any]
    splits: dict[str, Any]
    audit: dict[str, Any]
    arms: list[ArmRecord]
    comparisons: dict[str, Any]
    sampled: list[ArmRecord] = field(default_factory=list)
    forecast: dict[str, Any] = field(default_factory=dict)

    @property
    def is_clustered(self) -> bool:
        """Whether several test items share a group or a text, so that scores are over whole groups."""
        return bool(self.splits.get("clustered", self.splits.get("grouped")))

    def needed_splits(self) -> dict[str, Any]:
        """The splits. Raises: RunError if the study has no file of them."""
        if not self.splits:
            do = "Run the study again: its finished arms are kept."
            raise RunError(str(self.folder / SPLITS), "is missing.", do=do)
        return self.splits


def read_steps(path: Path) -> list[dict[str, Any]]:
    """The lines of steps.jsonl; none without the file."""
    if not path.is_file():
        return []
    try:
        *lines, _ = path.read_text("utf-8").split("\n")  # a last line without a line end was cut off
        steps = [load_json(line) for line in lines if line.strip()]
    except ValueError as error:
        raise RunError(str(path), f"is not lines of JSON: {error}.", do="Run the arm again.") from None
    checked: list[dict[str, Any]] = check_shape(path, steps)
    return checked


def _optional(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def study_format(folder: Path) -> int:
    """The format in which a study was written; 1 if it does not say."""
    return int(_optional(folder / PROVENANCE).get("format", 1))


def format_error(folder: Path) -> RunError:
    """The refusal of a study in a format that this version cannot use."""
    return RunError(
        str(folder),
        f"was written by another version of tuneproof (study format {study_format(folder)}; "
        f"this version reads {FORMAT}).",
        do=f"Run the study again in a new folder, or use tuneproof at the commit in its {PROVENANCE}.",
    )


def _rename_keys(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _rename_keys(inner, names) for key, inner in value.items()}
    return [_rename_keys(inner, names) for inner in value] if isinstance(value, list) else value


def _read(folder: Path, name: str, study: Path) -> dict[str, Any]:
    """A file of a study or an arm with the keys of format 2; empty if it does not exist."""
    if study_format(study) == FORMAT or not (folder / name).is_file():
        return _optional(folder / name)
    value = _rename_keys(read_json(folder / name), KEYS_OF_FORMAT_1[name])
    if isinstance(value, dict) and isinstance(value.get("model_files"), str):  # "NAME SHA256|NAME SHA256"
        lines = [line.rpartition(" ") for line in value["model_files"].split("|")]
        value["model_files"] = {name or "commit": digest for name, _, digest in lines}
    checked: dict[str, Any] = check_shape(folder / name, value)
    return checked


def read_arm(folder: Path) -> ArmRecord:
    """Read one arm's folder, of this format or of format 1.

    Raises: RunError if it holds no arm.
    """
    if not (folder / ARM).is_file():
        raise RunError(
            str(folder),
            f"holds no finished arm ({ARM} is missing).",
            do="Name the folder of one: STUDY/arms/ARM.",
        )
    study = folder.parent.parent
    about = _read(folder, ARM, study)
    ledger, scores = _read(folder, LEDGER, study), _optional(folder / SCORES)
    steps = read_steps(folder / STEPS)
    _check_evaluations(folder, about, len(steps))
    return ArmRecord(folder, about, ledger, scores, steps)


def _check_evaluations(folder: Path, about: dict[str, Any], taken_steps: int) -> None:
    """Raises RunError where an arm has an evaluation at a step that it did not take."""
    evaluations = (about.get("chosen") or {}).get("evaluations") or []
    wrong = [e["step"] for e in evaluations if not (0 <= e["step"] <= taken_steps and e["step"] % 1 == 0)]
    if taken_steps and wrong:
        raise RunError(
            str(folder / STEPS),
            f"has {taken_steps} steps, and {folder / ARM} an evaluation at step {wrong[0]}.",
            do=f"Run the arm again with --restart {folder.name}.",
        )


def read_study(folder: Path) -> StudyRecord:
    """Read a study's directory, of this format or of format 1; arms come in the recipe's order.

    Raises: RunError if the folder holds no study, or one of a later format.
    """
    folder = Path(folder)
    for names in ((RECIPE,), (SPLITS, ARMS)):
        if not any((folder / name).exists() for name in names):
            problem = f"holds no study ({names[0]} is missing)."
            raise RunError(str(folder), problem, do="Name the folder that `tuneproof run` printed.")
    if study_format(folder) > FORMAT:
        raise format_error(folder)
    arms = [read_arm(path.parent) for path in (folder / ARMS).glob(f"*/{ARM}")]
    arms.sort(key=lambda arm: (arm.about.get("order") or 0, arm.about.get("seed") or 0))
    return StudyRecord(
        folder=folder,
        recipe_text=read_text(folder / RECIPE),
        provenance=_optional(folder / PROVENANCE),
        splits=_optional(folder / SPLITS),
        audit=_read(folder, AUDIT, folder),
        arms=[arm for arm in arms if not arm.about.get("train_size")],
        comparisons=_read(folder, COMPARISONS, folder),
        sampled=[arm for arm in arms if arm.about.get("train_size")],
        forecast=_optional(folder / FORECAST),
    )


@dataclass(frozen=True)
class Items:
    """The items of one part as parallel lists; all empty if the study has no items file.

    `own` holds the task's own columns by name; `questions` is empty unless the items are questions.
    """

    ids: list[str]
    texts: list[str]
    golds: list[str]
    groups: list[str]
    own: dict[str, list[str]] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)


def read_items(folder: Path, part: str = "test") -> Items:
    """Read the items of one part of a study; a study without the file has no items.

    Raises: RunError if the file exists but is not a file of items.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(folder) / ITEMS
    if not path.is_file():
        return Items([], [], [], [])
    try:
        table = pq.read_table(path, filters=[("part", "=", part)])
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        own = {name.removeprefix(OWN): columns[name] for name in columns if name.startswith(OWN)}
        questions = columns.get("question", columns.get("asked", []))  # "asked" in format 1
        ids, texts, golds, groups = (columns[name] for name in ("id", "text", "gold", "group"))
        return Items(ids, texts, golds, groups, own, questions)
    except (pa.ArrowInvalid, KeyError) as error:
        raise RunError(str(path), f"is not a file of items ({error}).", do="Run the study again.") from None
