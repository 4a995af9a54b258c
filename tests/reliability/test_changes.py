"""What changed under a study is refused with what differs, or begun again, or accepted; all on record."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.arms.small import arm_of, die_at, folder_of, results, rows_of, small_recipe, write_rows
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.cli.main import main
from tuneproof.context.monitor import ArmStarted, Monitor
from tuneproof.data import splits
from tuneproof.errors import RecipeError, RunError
from tuneproof.recipe.recipe import recipe_from
from tuneproof.study import arm_runs, checks
from tuneproof.study.arm_runs import NEUTRAL_SETTINGS
from tuneproof.study.lock import LOCK, StudyLock
from tuneproof.study.plan import check
from tuneproof.study.resume import ResumePolicy
from tuneproof.study.run import run_study

FULL = {"full": {"learning_rate": 3e-3}}
SOON = {"checkpoint_minutes": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "bert", "distilbert")


def begun(folder: Path, model: Path, monkeypatch, **sections):
    """A study whose arm was killed at its sixth step."""
    recipe = small_recipe(folder, [model], [FULL], train=SOON, **sections)
    die_at(monkeypatch, 6)
    with pytest.raises(KeyboardInterrupt):
        run_study(recipe)
    monkeypatch.undo()
    return recipe


def changed(recipe, **sections):
    values = recipe.values()
    for name, section in sections.items():
        values[name] = {**values[name], **section} if isinstance(section, dict) else section
    return recipe_from(values)


# Memory


def test_r11_micro_batches_that_were_halved_stay_halved_after_a_kill(tmp_path, model, monkeypatch) -> None:
    from tuneproof.objectives.head import HeadObjective

    loss, seen = HeadObjective.loss, []

    def short_of_memory(self, model, part):
        if model.training and len(part["labels"]) > 2:
            seen.append(1)
            if len(seen) >= 3:
                raise MemoryError
        return loss(self, model, part)

    monkeypatch.setattr(HeadObjective, "loss", short_of_memory)
    train = {**SOON, "micro_batch": 4}
    recipes = [small_recipe(tmp_path, [model], [FULL], out=o, train=train) for o in ("a", "b")]
    run_study(recipes[0])
    seen.clear()
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, 6)
        with pytest.raises(KeyboardInterrupt):
            run_study(recipes[1])
    run_study(recipes[1])
    found = [results(recipe, "full") for recipe in recipes]
    assert {step["micro_batches"] for step in found[0]["steps"]} == {2, 4}
    assert found[0] == found[1]


def test_r11_settings_that_fitted_the_memory_stay_when_more_of_it_is_free(
    tmp_path, model, monkeypatch
) -> None:
    recipe = begun(tmp_path, model, monkeypatch, compute={"memory": "8GB"})
    file = folder_of(recipe, "full") / "facts.json"
    found = json.loads(file.read_text())
    assert found["memory_settings"]["train.micro_batch"] == 8
    found["memory_settings"]["train.micro_batch"] = 2  # as if less had been free at first
    file.write_text(json.dumps(found))
    run_study(changed(recipe, compute={"memory": "16GB"}))
    steps = [step["micro_batches"] for step in results(recipe, "full")["steps"]]
    assert steps[:5] == [1, 1, 1, 1, 1]
    assert steps[6:9] == [4, 4, 4]


# The lock


def test_r12_a_second_process_is_refused_by_name_and_nothing_is_touched(tmp_path) -> None:
    recipe = small_recipe(tmp_path, [], ["majority", "lexical"])

    def start_another(event) -> None:
        if isinstance(event, ArmStarted):
            before = {path: path.stat().st_mtime_ns for path in Path(recipe.out).rglob("*")}
            with pytest.raises(RunError, match=rf"is in use by process {os.getpid()} on .* since 20"):
                run_study(recipe)
            assert {path: path.stat().st_mtime_ns for path in Path(recipe.out).rglob("*")} == before

    run_study(recipe, Monitor(start_another))
    assert not (Path(recipe.out) / LOCK).exists()
    run_study(recipe)


def test_r12_the_program_says_who_holds_the_lock_without_doing_more_than_a_check(tmp_path) -> None:
    recipe = small_recipe(tmp_path, [], ["majority", "lexical"])
    (tmp_path / "recipe.yaml").write_text(recipe.text())
    Path(recipe.out).mkdir()
    command = [sys.executable, "-m", "tuneproof"]
    spent = [_children_s()]
    subprocess.run([*command, "check", str(tmp_path / "recipe.yaml"), "--no-cost"], check=True)
    spent.append(_children_s())
    with StudyLock(Path(recipe.out)):
        run = [*command, "run", str(tmp_path / "recipe.yaml")]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
    spent.append(_children_s())
    assert done.returncode == 1
    assert f"is in use by process {os.getpid()} on" in done.stderr
    assert spent[2] - spent[1] < 2 * (spent[1] - spent[0]), "of CPU time, the start of the program included"


def _children_s() -> float:
    """CPU seconds of the processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_r12_a_dead_holders_lock_is_taken_over(tmp_path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tuneproof.study.lock import StudyLock\n"
        f"lock = StudyLock(Path({str(tmp_path)!r})); lock.take(); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=f"in use by process {holder.pid} on"):
        StudyLock(tmp_path).take()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).is_file()
    begun = time.monotonic()
    with StudyLock(tmp_path) as lock:
        lock.check()
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert time.monotonic() - begun < 1
    assert not (tmp_path / LOCK).exists()


def test_r12_a_link_in_the_locks_place_is_not_followed(tmp_path) -> None:
    (tmp_path / "other").write_text("precious")
    (tmp_path / LOCK).symlink_to(tmp_path / "other")
    with pytest.raises(RunError, match="cannot be locked"):
        StudyLock(tmp_path).take()
    assert (tmp_path / "other").read_text() == "precious"


def test_r12_a_file_system_without_locks_is_said(tmp_path, monkeypatch) -> None:
    import fcntl

    def refuse(*given) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monitor = run_recorded(small_recipe(tmp_path, [], ["majority", "lexical"]))
    assert "has no locks" in monitor.text


# Items


ROWS = rows_of(("negative", "positive"))
EDITS = {
    "a text": [("Something else was said about it.", "negative"), *ROWS[1:]],
    "the order": ROWS[::-1],
    "two labels swapped": [(ROWS[0][0], "positive"), *ROWS[1:-1], (ROWS[-1][0], "negative")],
    "a row more": [*ROWS, ("One more came and said it was bad.", "negative")],
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("state", ["begun", "finished"])
def test_r15_other_rows_are_refused_and_change_nothing(tmp_path, model, monkeypatch, edit, state) -> None:
    if state == "begun":
        recipe = begun(tmp_path, model, monkeypatch)
    else:
        recipe = small_recipe(tmp_path, [], ["majority", "lexical"])
        run_study(recipe)
    before = {path: path.stat().st_mtime_ns for path in Path(recipe.out).rglob("*")}
    write_rows(tmp_path / "rows-2.csv", EDITS[edit])
    with pytest.raises(RecipeError, match=r"study with different items: the items or labels of .* differ"):
        run_study(recipe)
    for policy in (
        ResumePolicy(accept=True),
        ResumePolicy(restart=("majority",) if state != "begun" else ("full",)),
    ):
        with pytest.raises(RecipeError, match="study with different items"):
            run_study(recipe, resume=policy)
    assert {path: path.stat().st_mtime_ns for path in Path(recipe.out).rglob("*")} == before
    run_study(recipe, resume=ResumePolicy(restart=("all",)))
    assert arm_of(recipe, recipe.arms[-1].name)["status"] == "done"


@pytest.mark.parametrize(
    "change",
    [{"split": {"seed": 1}}, {"task": {"labels": {"labels": ["positive", "negative"]}}}],
    ids=["another split", "another order of the labels"],
)
def test_r15_another_split_or_order_of_labels_is_refused(tmp_path, change) -> None:
    recipe = small_recipe(tmp_path, [], ["majority", "lexical"])
    run_study(recipe)
    if "task" in change:
        options = {**recipe.values()["task"]["labels"], **change["task"]["labels"]}
        change = {"task": {"labels": options}}
    with pytest.raises(RecipeError, match="study with different items"):
        run_study(changed(recipe, **change))


# Settings

PRICES = {"prices": {"per_hour": 1.0, "per_label": 0.1}}
OTHERS = {
    "full.more_epochs": [1],
    "full.models": ["bert"],
    "compute.parallel": "fsdp",
    "predict.timing_s": 3.0,
    "full.engine": "trainer",
    "task.labels.prompt": None,
    "split.kind": "auto",
    "split.shares": [50, 20, 30],
    "split.train_size": 30,
    "split.dev_size": 8,
    "split.test_size": 8,
    "split.sample_unit": "group",
    "train.min_steps": 9,
    "train.micro_batch": 2,
    "train.patience": 3,
    "train.trackers": ["tensorboard"],
    "train.schedule": "cosine",
    "train.class_weights": "balanced",
    "encode.truncate": "middle",
    "compute.disk": "3GB",
    "compute.memory": "8GB",
    "compute.threads": 2,
    "compute.device": "auto",
    "compute.precision": "bf16",
    "split.group_by": "similarity",
    "full.weights": "random",
    "full.epochs": 1,
    "full.layers": "last 1",
}
SECTIONS = ("split", "encode", "predict", "train", "compute")


def other_value(name: str, value):
    """A valid value of a setting that is not the one it has."""
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.5 if value else 0.25
    return {"stop": "skip", "auto": "never", "head": "words", "linear": "cosine"}.get(value, value)


def test_r16_every_setting_changes_what_an_arm_belongs_to_but_those_of_a_list(
    tmp_path, model, monkeypatch
) -> None:
    monkeypatch.setattr(checks, "check_trackers", lambda names: None)
    monkeypatch.setattr(splits, "group_by_similarity", lambda rows: rows)  # its sixty rows all look alike
    recipe = changed(small_recipe(tmp_path, [model], [FULL]), split={"leak_safe": True})
    first = check(recipe).arms[0]
    values, changed_settings = recipe.values(), set()
    settings = {
        f"{part}.{key}": v for part in SECTIONS if part != "prices" for key, v in values[part].items()
    }
    settings |= {f"full.{key}": v for key, v in values["arms"][0]["full"].items() if key != "name"}
    for name, value in settings.items():
        part, _, key = name.partition(".")
        other = other_value(name, value)
        assert other != value, f"give {name} another value in OTHERS"
        if part == "full":
            arms = [{"full": {**values["arms"][0]["full"], key: other}}]
            now = changed(recipe, arms=arms)
        else:
            now = changed(recipe, **{part: {key: other}})
        if name == "full.objective":
            continue  # an encoder has none; settings_of holds every option alike
        same = check(now).arms[0].fingerprint == first.fingerprint
        assert same == (name in NEUTRAL_SETTINGS or name == "full.models"), name
        changed_settings.add(name)
    of_items = {name for name in NEUTRAL_SETTINGS if name.startswith("task.")}  # they change the items
    assert changed_settings >= NEUTRAL_SETTINGS - of_items
    for free in ({"score": {"power": 0.7}}, {"audit": {"allow": ["empty_text"]}}, {"seeds": [0, 1]}, PRICES):
        assert check(changed(recipe, **free)).arms[0].fingerprint == first.fingerprint


def test_r16_a_begun_arm_with_changed_settings_is_refused_with_what_differs(
    tmp_path, model, monkeypatch
) -> None:
    recipe = begun(tmp_path, model, monkeypatch)
    now = changed(recipe, arms=[{"full": {"learning_rate": 1e-3}}], train={"epochs": 3})
    with pytest.raises(RecipeError) as caught:
        run_study(now)
    said = str(caught.value)
    assert "is an unfinished arm with other settings: " in said
    assert "full.learning_rate was 0.003, is 0.001" in said
    assert "train.epochs was 2, is 3" in said
    assert "--restart full" in said
    assert "--accept-change" in said
    run_study(changed(recipe, train={"checkpoint_minutes": 5, "self_test": False}))


# Versions, threads; what can be done about it


@pytest.fixture
def newer(monkeypatch):
    """Another torch, as far as the study can tell."""
    known = arm_runs.versions()

    def change() -> None:
        monkeypatch.setattr(arm_runs, "versions", lambda: {**known, "torch": "9.9"})

    return change


def test_r17_another_version_is_refused_then_accepted_and_recorded(
    tmp_path, model, monkeypatch, newer
) -> None:
    whole = small_recipe(tmp_path, [model], [FULL], out="whole", train=SOON)
    run_study(whole)
    recipe = begun(tmp_path, model, monkeypatch)
    newer()
    with pytest.raises(RecipeError, match=r"version of torch was 2\.\S+, is 9\.9\."):
        run_study(recipe)
    run_study(recipe, resume=ResumePolicy(accept=True))
    assert results(recipe, "full") == results(whole, "full"), "it went on from its checkpoint"
    assert "resumes after step 6" in " ".join(arm_of(recipe, "full")["notes"])
    found = json.loads((Path(recipe.out) / "changes.json").read_text())["changes"]
    assert [(entry["action"], entry["arm"]) for entry in found] == [("accepted", "bert.full.seed0")]
    assert found[0]["differences"][0].startswith("version of torch was")
    assert "version of torch was" in (Path(recipe.out) / "report.html").read_text()
    run_study(recipe)  # accepted once and for all


def test_r17_the_program_takes_both_ways_out(tmp_path, capsys) -> None:
    recipe = small_recipe(tmp_path, [], ["majority", "lexical"])
    (tmp_path / "r.yaml").write_text(recipe.text())
    words = ["run", str(tmp_path / "r.yaml"), "--quiet"]
    assert main(words) == 0
    other = [*words, "--set", "split.dev_share=0.2"]
    assert main(other) == 2
    assert "split.dev_share was 0.1, is 0.2" in capsys.readouterr().err
    assert main([*other, "--restart", "lexical"]) == 2, "majority still differs"
    assert main([*other, "--restart", "lexical", "--accept-change"]) == 0
    assert main(other) == 0
    found = json.loads((Path(recipe.out) / "provenance.json").read_text())
    assert [entry["action"] for entry in found["changes"]] == ["restarted", "accepted"]
    assert "--restart" not in found["command"]


def test_r17_a_finished_arm_of_another_version_can_begin_again(tmp_path, model, monkeypatch, newer) -> None:
    recipe = small_recipe(tmp_path, [model], ["majority", "head", FULL], train=SOON)
    run_study(recipe)
    newer()
    with pytest.raises(RecipeError, match=r"bert\.head: is a finished arm .*1 more arms differ"):
        run_study(recipe)
    with pytest.raises(RecipeError, match=r"'hed' is not an arm of this study\. Did you mean head"):
        run_study(recipe, resume=ResumePolicy(restart=("hed",)))
    run_study(recipe, resume=ResumePolicy(restart=("head",), accept=True))
    aside = Path(recipe.out) / "superseded" / "bert.head.1"
    assert json.loads((aside / "arm.json").read_text())["status"] == "done"
    assert (
        json.loads((folder_of(recipe, "head") / "facts.json").read_text())["facts"]["version of torch"]
        == "9.9"
    )
    found = json.loads((Path(recipe.out) / "changes.json").read_text())["changes"]
    assert [entry["action"] for entry in found] == ["restarted", "accepted"]


@pytest.mark.parametrize("change", [{"threads": 2}, {"precision": "bf16"}])
def test_r17_other_threads_or_precision_are_refused(tmp_path, model, monkeypatch, change) -> None:
    recipe = begun(tmp_path, model, monkeypatch)
    name = next(iter(change))
    with pytest.raises(RecipeError, match=rf"compute\.{name} was "):
        run_study(changed(recipe, compute=change))


def test_r17_other_files_of_the_model_are_named(tmp_path, monkeypatch) -> None:
    own = tiny_model(tmp_path / "own", "distilbert")
    recipe = begun(tmp_path, own, monkeypatch)
    tiny_model(own, "distilbert", seed=5)
    with pytest.raises(RecipeError, match=r"the model's model\.safetensors differs"):
        run_study(recipe)
