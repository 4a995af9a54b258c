"""A study's JSON file with a value of another type is refused by its key, everywhere it is read."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.arms.small import small_recipe
from tests.monitoring import run_recorded
from tests.report.made_study import write_study
from tuneproof.atomic import write_json
from tuneproof.cli.main import main
from tuneproof.errors import RunError
from tuneproof.record.changes import ChangeLog
from tuneproof.record.diagnoses import diagnose_study
from tuneproof.record.file_shapes import ANY, NUMBER, SCORE, TEXT, WHOLE, find_fault
from tuneproof.record.study_folder import read_arm, read_study

REMOVED = object()
LEXICAL = "arms/lexical"
AGAIN = "Delete the file and run the study again: its finished arms are kept."
RESTART = "Run the arm again with --restart lexical."
FAULTS: list[tuple[str, tuple[Any, ...], Any, str]] = [
    (f"{LEXICAL}/arm.json", (), [], f"is [], not an object. {RESTART}"),
    (f"{LEXICAL}/arm.json", ("arm",), REMOVED, f"arm is missing. {RESTART}"),
    (f"{LEXICAL}/arm.json", ("status",), None, f"status is null, not text. {RESTART}"),
    (f"{LEXICAL}/arm.json", ("seed",), [0], f"seed is [0], not a whole number. {RESTART}"),
    (f"{LEXICAL}/arm.json", ("seed",), True, f"seed is True, not a whole number. {RESTART}"),
    (f"{LEXICAL}/arm.json", ("model",), {}, f"model is {{}}, not text. {RESTART}"),
    (f"{LEXICAL}/arm.json", ("time_s",), True, f"time_s is True, not an object. {RESTART}"),
    (f"{LEXICAL}/arm.json", ("time_s", "train"), "a", f"time_s.train is 'a', not a number. {RESTART}"),
    (f"{LEXICAL}/arm.json", ("items_per_s",), "", f"items_per_s is '', not a number. {RESTART}"),
    (f"{LEXICAL}/arm.json", ("encoding",), 1.5, f"encoding is 1.5, not an object. {RESTART}"),
    (f"{LEXICAL}/arm.json", ("prompts",), ["x"], f"prompts[0] is 'x', not an object. {RESTART}"),
    (
        f"{LEXICAL}/arm.json",
        ("wall_s",),
        float("nan"),
        "is not JSON: NaN is not a number of JSON. Run the study again.",
    ),
    (f"{LEXICAL}/arm.json", ("wall_s",), 10**400, f"wall_s is 1{'0' * 39}..., not a number. {RESTART}"),
    (f"{LEXICAL}/scores.json", ("accuracy",), None, f"accuracy is null, not an object. {RESTART}"),
    (f"{LEXICAL}/scores.json", ("f1", "high"), [], f"f1.high is [], not a number. {RESTART}"),
    (f"{LEXICAL}/ledger.json", ("lines",), 7, f"lines is 7, not a list. {RESTART}"),
    (f"{LEXICAL}/ledger.json", ("lines", 0, "count"), REMOVED, f"lines[0].count is missing. {RESTART}"),
    (f"{LEXICAL}/ledger.json", ("total",), "many", f"total is 'many', not a number. {RESTART}"),
    ("audit.json", ("findings",), True, f"findings is True, not a list. {AGAIN}"),
    ("audit.json", ("findings", 0), "x", f"findings[0] is 'x', not an object. {AGAIN}"),
    ("comparisons.json", ("arms", 0, "scores"), [], f"arms[0].scores is [], not an object. {AGAIN}"),
    ("comparisons.json", ("comparisons", 0, "low"), [], f"comparisons[0].low is [], not a number. {AGAIN}"),
    ("comparisons.json", ("verdict",), "good", f"verdict is 'good', not an object. {AGAIN}"),
    ("splits.json", ("sizes",), 3, f"sizes is 3, not an object. {AGAIN}"),
    ("splits.json", ("sizes",), REMOVED, f"sizes is missing. {AGAIN}"),
    ("splits.json", ("sizes", "test"), REMOVED, f"sizes.test is missing. {AGAIN}"),
    ("splits.json", ("sizes", "train"), -1, f"sizes.train is -1, not a whole number from 0. {AGAIN}"),
    ("splits.json", ("labels",), None, f"labels is null, not an object. {AGAIN}"),
    ("splits.json", ("labels", "train"), REMOVED, f"labels.train is missing. {AGAIN}"),
    ("splits.json", ("labels", "test"), ["a"], f"labels.test is ['a'], not an object. {AGAIN}"),
    ("forecast.json", ("arms",), True, f"arms is True, not a list. {AGAIN}"),
    (
        "provenance.json",
        ("format",),
        "two",
        "format is 'two', not a whole number. Restore the file, or run the study again in a new folder.",
    ),
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = small_recipe(tmp_path_factory.mktemp("shapes"), [], ["lexical", "majority"])
    run_recorded(recipe)
    return Path(recipe.out)


@pytest.fixture
def study(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "study"))


def _damage(file: Path, keys: tuple[Any, ...], value: Any) -> None:
    values = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    if not keys:
        values = value
    else:
        inner = values
        for key in keys[:-1]:
            inner = inner[key]
        if value is REMOVED:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = value
    file.write_text(json.dumps(values), "utf-8")


@pytest.mark.parametrize(("name", "keys", "value", "sentence"), FAULTS)
def test_a_value_of_another_type_is_named_with_its_file_and_key(study, name, keys, value, sentence) -> None:
    _damage(study / name, keys, value)
    with pytest.raises(RunError) as caught:
        read_study(study)
    assert str(caught.value) == f"{study / name}: {sentence}"


@pytest.mark.parametrize("command", ["report", "compare", "run"])
def test_every_command_refuses_it_in_one_sentence(study, capsys, command) -> None:
    _damage(study / LEXICAL / "arm.json", ("status",), 5)
    arms = [str(study / "arms" / name) for name in ("lexical", "majority")]
    arguments = {"report": [str(study)], "compare": arms, "run": [str(study / "recipe.yaml"), "--quiet"]}
    words = [*arguments[command], *(["--out", str(study)] if command == "run" else [])]
    assert main([command, *words]) == 1
    error = capsys.readouterr().err
    assert f"status is 5, not text. {RESTART}" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("name", ["audit.json", "comparisons.json", "forecast.json", "splits.json"])
def test_a_damaged_file_of_the_study_is_written_again_after_it_is_deleted(study, name) -> None:
    write_json(study / name, [])
    (study / name).unlink()
    assert main(["run", str(study / "recipe.yaml"), "--out", str(study), "--quiet"]) == 0
    assert read_study(study).comparisons["verdict"]


@pytest.mark.parametrize("name", ["arm.json", "ledger.json", "scores.json", "facts.json"])
def test_an_arm_with_a_damaged_file_restarts(study, name) -> None:
    write_json(study / LEXICAL / name, [])
    words = ["run", str(study / "recipe.yaml"), "--out", str(study), "--quiet", "--restart", "lexical"]
    assert main(words) == 0
    assert read_arm(study / LEXICAL).about["status"] == "done"


def test_changes_that_cannot_be_read_are_not_overwritten(study) -> None:
    write_json(study / "changes.json", {"changes": [{"action": "accepted", "arm": 3}]})
    with pytest.raises(RunError, match=r"changes\[0\]\.arm is 3, not text"):
        ChangeLog(study)


@pytest.mark.parametrize("step", [401, 10**9, -1, 2.5])
def test_an_evaluation_at_a_step_that_the_arm_did_not_take_is_refused(tmp_path, step) -> None:
    arm = next(write_study(tmp_path / "made", size=20).glob("arms/*/steps.jsonl")).parent
    about = json.loads((arm / "arm.json").read_text("utf-8"))
    taken = len((arm / "steps.jsonl").read_text("utf-8").splitlines())
    evaluations = [{"step": at, "epoch": 1, "dev_loss": 0.5} for at in (0, taken, step)]
    write_json(arm / "arm.json", about | {"chosen": {"evaluations": evaluations[:2]}})
    assert len(read_arm(arm).steps) == taken
    write_json(arm / "arm.json", about | {"chosen": {"evaluations": evaluations}})
    with pytest.raises(RunError) as caught:
        read_arm(arm)
    problem = f"has {taken} steps, and {arm / 'arm.json'} an evaluation at step {step}"
    assert str(caught.value) == (
        f"{arm / 'steps.jsonl'}: {problem}. Run the arm again with --restart {arm.name}."
    )


def test_a_study_with_few_keys_is_read(tmp_path) -> None:
    folder = write_study(tmp_path)
    for path in (folder / "arms").glob("*/arm.json"):
        about = json.loads(path.read_text("utf-8"))
        write_json(path, {key: about[key] for key in ("arm", "status")})
        for name in ("ledger.json", "scores.json"):
            path.with_name(name).unlink(missing_ok=True)
    assert len(read_study(folder).arms) == len(list((folder / "arms").iterdir()))


@pytest.mark.parametrize(
    ("value", "shape", "fault"),
    [
        ({}, SCORE, (".value", "is missing")),
        ({"value": None}, SCORE, None),
        ({"value": 1, "low": None}, SCORE, None),
        ({"a": None}, {ANY: NUMBER}, (".a", "is null, not a number")),
        ([1, None], [WHOLE], ("[1]", "is null, not a whole number")),
        ({"a": [{"b": 1}]}, {"a": [{"b": TEXT}]}, (".a[0].b", "is 1, not text")),
        ({"a!": 3, "other": []}, {"a": TEXT}, None),
        (2.0, WHOLE, ("", "is 2.0, not a whole number")),
        ("\ud83d", TEXT, None),
    ],
)
def test_needed_keys_and_entries_are_never_null(value, shape, fault) -> None:
    assert find_fault(value, shape) == fault


def test_a_study_without_its_splits_is_refused_where_they_are_read(tmp_path) -> None:
    made = write_study(tmp_path / "made", size=20)
    (made / "splits.json").unlink()
    with pytest.raises(RunError, match=r"splits\.json: is missing\. Run the study again: its finished arms"):
        diagnose_study(read_study(made), small_recipe(tmp_path, [], ["lexical"]))
