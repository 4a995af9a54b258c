"""Bad inputs 16 to 28: a stranger's data sets, recipes, archives and folders."""

import gzip
import io
import json
import os
import re
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.strangers.test_models import SOURCES, imported
from tests.strangers.workspace import OWN, Workspace
from tuneproof.recipe.recipe import read_recipe
from tuneproof.record.study_folder import arm_folder, slug

TASK = "task: {labels: {path: reviews.csv, text: review, label: mood}}\n"


def hub_recipe(workspace: Workspace, name: str) -> None:
    (workspace / "recipe.yaml").write_text(
        f"task: {{labels: {{hub: {json.dumps(name)}, revision: abc, text: review, label: mood}}}}\n"
        "arms: [majority]\n"
    )


def test_16_a_data_set_with_a_script_alone_is_refused(workspace: Workspace):
    (workspace / "evil" / "data").mkdir(parents=True)
    (workspace / "evil" / "data" / "data.py").write_text(f"open({str(workspace.canary)!r}, 'w')")
    hub_recipe(workspace, "evil/data")
    workspace.run_command("check", "recipe.yaml").refused("is a file or folder here", "path:")


def test_16_a_data_set_that_needs_its_own_reader_is_refused(workspace: Workspace, monkeypatch):
    class Builder:
        name = "pandas"

    monkeypatch.setattr("datasets.load_dataset_builder", lambda *_, **__: Builder)
    hub_recipe(workspace, "evil/pickles")
    workspace.run_command("check", "recipe.yaml").refused(
        "needs the reader pandas", "parquet, csv, json, arrow, text"
    )


def test_16_a_script_on_the_hub_is_refused(workspace: Workspace, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Dataset scripts are no longer supported, but found evil.py")

    monkeypatch.setattr("datasets.load_dataset_builder", refuse)
    hub_recipe(workspace, "evil/script")
    workspace.run_command("check", "recipe.yaml").refused("scripts are no longer supported")


def data(workspace: Workspace, name: str, content: bytes, *more: str) -> None:
    """Refused as an own file."""
    (workspace / name).write_bytes(content)
    workspace.run_command("check", name, *OWN[1:], "--arms", "majority", *more).refused(name)


@pytest.mark.parametrize(
    "name", ["own.pkl", "own.pickle", "own.pt", "own.joblib", "own.csv", "own.jsonl", "own.parquet"]
)
def test_17_a_pickled_data_set_is_refused(workspace: Workspace, name):
    data(workspace, name, workspace.evil())


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch canary']",
        "!!python/name:os.system",
        "!function evil.main",
        "!include /etc/passwd",
        "!!binary aGVsbG8=",
        "!<tag:x> y",
        "!!set {a}",
    ],
)
def test_18_a_recipe_with_a_tag_is_refused(workspace: Workspace, value):
    (workspace / "recipe.yaml").write_text(f"{TASK}arms: [majority]\nout: {value}\n")
    workspace.run_command("check", "recipe.yaml").refused("line 3")
    workspace.run_command("check", *OWN, "--arms", "majority", "--set", f"out={value}").refused("--set")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{key}: &{key} [{', '.join(['*' + other] * 9)}]\n"
    for other, key in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "a: &a [*a]\n",
        "a: &a\n  b: 1\n<<: *a\n",
        "a: " + "[" * 100 + "]" * 100,
        "a: " + "{a: " * 100 + "}" * 100,
        "[" * 400_000,
        "- " * 5000,
        "a" * 2_000_000,
        "? [a, b]\n: c\n",
        "? {a: b}\n: c\n",
        "%YAML 9.9\n---\na: b\n",
        "a: b\n---\nc: d\n",
    ],
    ids=range(12),
)
def test_19_a_recipe_that_grows_or_nests_is_refused(workspace: Workspace, text):
    (workspace / "recipe.yaml").write_text(text)
    workspace.run_command("check", "recipe.yaml").refused("recipe.yaml")


def test_20_words_that_other_yamls_change_stay_words(workspace: Workspace):
    (workspace / "recipe.yaml").write_text(
        "task:\n  labels: {path: a.csv, labels: [no, yes, on, 2024-01-01, 12:30:00, null_, ~x]}\n"
        "arms: [majority]\n"
    )
    labels = read_recipe("recipe.yaml").task_options.labels
    assert labels == ("no", "yes", "on", "2024-01-01", "12:30:00", "null_", "~x")


@pytest.mark.parametrize("label", ["1e3", "1", "1.5", "true", "null", "~", "0x1F", "[a]"])
def test_20_a_number_as_a_label_is_an_error_with_its_line(workspace: Workspace, label):
    (workspace / "recipe.yaml").write_text(
        f"task:\n  labels:\n    path: a.csv\n    labels: [a, {label}]\narms: [majority]\n"
    )
    workspace.run_command("check", "recipe.yaml").refused("recipe.yaml, line 4", "labels[1]")


def test_20_labels_of_a_file_stay_as_they_are_written(workspace: Workspace):
    names = ["no", "1e3", "2024-01-01", "0x1F", "007", "null", "TRUE"]
    rows = [f"text {n} of {name},{name}" for name in names for n in range(6)]
    (workspace / "own.csv").write_text("review,mood\n" + "\n".join(rows) + "\n")
    result = workspace.run_command(
        "check", "own.csv", *OWN[1:], "--arms", "majority", "--set", "audit.allow=[]"
    )
    assert result.code == 0, result.err
    assert all(name in result.out for name in names)


def zipped(name: str, content: bytes = b"review,mood\n") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return stream.getvalue()


def tarred(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        file.addfile(member, io.BytesIO())
    return stream.getvalue()


ARCHIVES = {
    "21 a way up in a zip": ("own.zip", zipped("../../canary")),
    "21 a zip called csv": ("own.csv", zipped("../../canary")),
    "22 a tar's absolute path": ("own.tar", tarred("/tmp/canary")),
    "23 a tar's link": ("own.tar", tarred("x", tarfile.SYMTYPE, "/tmp")),
    "24 a tar's device": ("own.tar", tarred("x", tarfile.CHRTYPE)),
    "24 a tar's pipe": ("own.tar.gz", gzip.compress(tarred("x", tarfile.FIFOTYPE))),
    "25 a zip in a zip": ("own.zip", zipped("own.zip", zipped("x", b"0" * 10**6))),
    "25 a packed csv": ("own.csv.gz", gzip.compress(b"review,mood\n" + b"0" * 10**6)),
    "25 a gzip called csv": ("own.csv", gzip.compress(b"review,mood\n")),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_21_to_25_an_archive_is_refused_unopened(workspace: Workspace, name):
    data(workspace, *ARCHIVES[name])


READS_NO_ZIP = re.compile("from zipfile import (BadZipFile|ZIP_DEFLATED)$", re.MULTILINE)


@pytest.mark.parametrize("name", ["zipfile", "tarfile", "shutil.unpack_archive"])
def test_21_to_24_no_file_of_ours_unpacks_an_archive(name):
    unpackers = [file for file in SOURCES if name in imported(file)]
    # numpy raises BadZipFile on a damaged file, and skops writes compressed: neither unpacks anything
    others = [file for file in unpackers if READS_NO_ZIP.search(file.read_text("utf-8")) is None]
    # a workbook's parts are read in memory, with bounds (tests/tasks/test_workbook.py)
    assert [file.name for file in others] == (["workbook_parts.py"] if name == "zipfile" else [])
    assert not any("extract" in file.read_text("utf-8") for file in others)
    assert not any("unpack_archive" in file.read_text("utf-8") for file in SOURCES)


def test_25_a_packed_file_that_grows_is_stopped(workspace: Workspace, monkeypatch):
    monkeypatch.setattr("tuneproof.tasks.squad_file.MAX_BYTES", 10_000_000)
    (workspace / "own.json.gz").write_bytes(gzip.compress(b" " * 200_000_000))
    result = workspace.run_command("check", "own.json.gz", "--questions", "--arms", "majority")
    result.refused("unpacks to more than 10,000,000 bytes")


def test_25_a_parquet_file_that_grows_is_stopped(workspace: Workspace, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {"review": ["0" * 10_000] * 20_000, "mood": ["a"] * 20_000}
    pq.write_table(pa.table(rows), workspace / "own.parquet", compression="zstd")
    assert (workspace / "own.parquet").stat().st_size < 1_000_000
    monkeypatch.setattr("tuneproof.tasks.size_limits.MAX_BYTES", 50_000_000)
    result = workspace.run_command("check", "own.parquet", *OWN[1:], "--arms", "majority")
    result.refused("unpacks to", "At most 50,000,000 are allowed")


def test_25_a_pipe_or_a_device_is_no_file(workspace: Workspace):
    os.mkfifo(workspace / "own.csv")
    (workspace / "zero.csv").symlink_to("/dev/zero")
    os.mkfifo(workspace / "recipe.yaml")
    for name in ("own.csv", "zero.csv"):
        workspace.run_command("check", name, *OWN[1:], "--arms", "majority").refused("is a device or a pipe")
    workspace.run_command("check", "recipe.yaml").refused("is a device or a pipe")


def test_26_a_study_is_not_written_through_a_link(workspace: Workspace):
    (workspace / "elsewhere").mkdir()
    (workspace / "study").symlink_to("elsewhere")
    workspace.run(model=None, arms="majority").refused("study: is a link to", "--out")
    assert list((workspace / "elsewhere").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users here")
def test_26_a_study_is_not_written_into_another_users_folder(workspace: Workspace, monkeypatch):
    (workspace / "study").mkdir()
    other = os.stat(workspace / "study").st_uid + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    workspace.run(model=None, arms="majority").refused("belongs to another user")


def test_26_a_report_that_is_a_link_is_replaced_and_not_written_through(workspace: Workspace):
    assert workspace.run(model=None, arms="majority").code == 0
    (workspace / "mine.txt").write_text("mine")
    (workspace / "study" / "report.html").unlink()
    (workspace / "study" / "report.html").symlink_to(workspace / "mine.txt")
    assert workspace.run_command("report", "study").code == 0
    assert (workspace / "mine.txt").read_text() == "mine"
    assert not (workspace / "study" / "report.html").is_symlink()


def test_27_weights_that_somebody_planted_are_replaced_unread(workspace: Workspace, tiny):
    workspace.model(tiny)
    planted = workspace / "study" / "arms" / "model.head" / "weights"
    planted.mkdir(parents=True)
    (planted / "head.safetensors").write_bytes(workspace.evil())
    (planted / "checkpoint-9999").mkdir()
    assert workspace.run().code == 0
    assert not (planted / "checkpoint-9999").exists()
    assert workspace.run_command("predict", "study/arms/model.head", "--input", "reviews.csv").code == 0


@pytest.mark.parametrize(
    "file", ["recipe.yaml", "splits.json", "provenance.json", "audit.json", "comparisons.json"]
)
@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "\x00", '{"a": NaN', "null"])
def test_27_a_study_of_a_stranger_with_another_files_text_ends_in_a_sentence(
    workspace: Workspace, made, file, text
):
    study = made(workspace)
    (study / file).write_text(text)
    result = workspace.run_command("report", "study")
    assert result.code in (0, 1, 2)
    assert "Traceback" not in result.err, result.err


@pytest.fixture(scope="module")
def study_once(tmp_path_factory):
    """A small finished study, made once."""
    from tuneproof.cli.main import main

    folder = tmp_path_factory.mktemp("made")
    here = Path.cwd()
    os.chdir(folder)
    try:
        from tests.strangers.workspace import GOOD

        Path("reviews.csv").write_text(GOOD)
        assert main(["run", *OWN, "--arms", "majority,lexical", "--quiet", "--out", "study"]) == 0
    finally:
        os.chdir(here)
    return folder / "study"


@pytest.fixture
def made(study_once):
    """A copy of it in the test's folder."""
    import shutil

    def copy(workspace: Workspace) -> Path:
        return Path(shutil.copytree(study_once, workspace / "study"))

    return copy


@pytest.mark.parametrize("file", ["arm.json", "scores.json", "ledger.json"])
@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "{}"])
def test_27_an_arm_of_a_stranger_with_another_files_text_ends_in_a_sentence(
    workspace: Workspace, made, file, text
):
    study = made(workspace)
    (study / "arms" / "lexical" / file).write_text(text)
    for words in (
        ["report", "study"],
        ["predict", "study/arms/lexical", "--input", "reviews.csv"],
        ["compare", "study/arms/lexical", "study/arms/majority"],
    ):
        result = workspace.run_command(*words)
        assert result.code in (0, 1, 2)
        assert "Traceback" not in result.err, result.err


NAMES = [
    "../../etc",
    "/etc/passwd",
    "con",
    "NUL.txt",
    "-rf",
    "a" * 60,
    "..",
    ".",
    "a/b",
    "a\\b",
    "\u202eevil",
    "<script>",
    "%2e%2e",
    "a b",
    "~",
    "$(touch canary)",
    "`touch canary`",
]


@pytest.mark.parametrize("name", NAMES)
def test_28_an_arms_name_cannot_leave_the_study(workspace: Workspace, name):
    named = json.dumps([{"majority": {"name": name}}])
    result = workspace.run("--set", f"arms={named}", model=None, arms="majority")
    assert result.code == 0, result.err
    inside = list((workspace / "study" / "arms").iterdir())
    assert len(inside) == 1
    assert (inside[0] / "arm.json").is_file()
    assert sorted(path.name for path in workspace.folder.iterdir()) == ["reviews.csv", "study"]


@pytest.mark.parametrize("name", ["", "a" * 300, "a\0b"])
def test_28_a_name_of_no_length_or_any_length_is_refused(workspace: Workspace, name):
    named = json.dumps([{"majority": {"name": name}}])
    result = workspace.run("--set", f"arms={named}", model=None, arms="majority")
    assert result.code in (0, 2)
    assert "Traceback" not in result.err


@pytest.mark.parametrize("name", [*NAMES, "COM1", "lpt9.csv", "\0", "", "ー"])
def test_28_a_file_name_is_plain_letters(name):
    plain = slug(name)
    assert plain.strip("-.") == plain
    assert 0 < len(plain) <= 81
    assert plain.isascii()
    assert not set(plain) & set('/\\:*?"<>|\0 ')
    assert plain.partition(".")[0].lower() not in ("con", "nul", "com1", "lpt9")
    assert arm_folder(Path("s"), name, name, 0).parent == Path("s/arms")


@pytest.mark.parametrize(
    "name",
    [
        "../../etc",
        "-rf",
        "a" * 300,
        "evil/../..",
        "file:///etc/passwd",
        "https://evil.com/model",
        "\u202eevil/x",
        "evil/x@../../y",
        "a\nb/c",
    ],
)
def test_28_a_models_name_that_is_none_is_refused(workspace: Workspace, name):
    result = workspace.run_command("check", *OWN, f"--models={name}", "--arms", "head")
    assert result.code == 2
    assert "Traceback" not in result.err


@pytest.mark.skipif(sys.platform == "win32", reason="no modes here")
@pytest.mark.parametrize("mask", [0o022, 0o000])
def test_37_a_study_is_its_owners_alone(workspace: Workspace, tiny, mask):
    workspace.model(tiny)
    before = os.umask(mask)
    try:
        assert workspace.run("--set", "arms.lora={epochs: 1}", arms="majority,head,lora").code == 0
    finally:
        os.umask(before)
    study = workspace / "study"
    found = [study, *study.rglob("*")]
    assert len(found) > 20
    for path in found:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
