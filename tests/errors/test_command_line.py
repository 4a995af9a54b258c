"""Bad arguments, folders and studies, and the error that each gets."""

import errno
import os
from pathlib import Path

import pytest

from tests.errors.case import GOOD, OWN, Case, Parts
from tuneproof.cli.main import main
from tuneproof.methods import METHODS

METHOD_NAMES = ", ".join(METHODS)
TASK_NAMES = "sst2, imdb, squad_v2, demo"


def full_disk(patch: pytest.MonkeyPatch) -> None:
    """Nothing can be put into place."""

    def replace(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(os, "replace", replace)


def late_full_disk(patch: pytest.MonkeyPatch) -> None:
    """The disk is full when the predictions come."""
    real = os.replace

    def replace(source: str, target: str) -> None:
        if str(target).endswith("predictions.parquet"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    patch.setattr(os, "replace", replace)


def read_only(patch: pytest.MonkeyPatch) -> None:
    """No folder can be made."""

    def mkdir(self: Path, *more: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    patch.setattr(Path, "mkdir", mkdir)


def break_recipe(patch: pytest.MonkeyPatch) -> None:
    """Somebody edits the recipe of a finished study."""
    Path("one/recipe.yaml").write_text("task: [")


def break_predictions(patch: pytest.MonkeyPatch) -> None:
    """Somebody edits the predictions of a finished study."""
    Path("one/arms/majority/predictions.parquet").write_text("task: [")


RUN = ["run", "reviews.csv", *OWN, "--arms", "majority", "--quiet", "--out", "one"]


TWO = [*RUN[:-1], "two", "--set", "split.seed=1"]


ARGUMENTS = {
    "unknown command": Case(
        ["train"],
        Parts(
            "",
            "'train' is not a command.",
            do="Allowed: run, check, demo, show, count, memory, predict, serve, ui, export, publish, doctor, "
            "compare, "
            "gate, plan, label-errors, report.",
        ),
    ),
    "unknown option": Case(
        ["run", "--fast"],
        Parts(
            "run", "the following arguments are required: RECIPE|TASK|FILE.", do="See tuneproof run --help."
        ),
    ),
    "no recipe": Case(
        ["run"],
        Parts(
            "run", "the following arguments are required: RECIPE|TASK|FILE.", do="See tuneproof run --help."
        ),
    ),
    "not a thing": Case(
        ["check", "ssst2", "--arms", "majority"],
        Parts("ssst2", "is not a recipe (.yaml), a task or an existing file.", do="Did you mean sst2?"),
    ),
    "labels as task": Case(
        ["check", "labels", "--arms", "majority"],
        Parts("labels", "is not a recipe (.yaml), a task or an existing file.", do=f"Allowed: {TASK_NAMES}."),
    ),
    "task with own": Case(
        ["check", "demo", "--text", "a", "--arms", "majority"],
        Parts("--text", "applies to your own file, but demo is a task.", do="Remove the option."),
    ),
    "own without text": Case(
        ["check", "reviews.csv", "--arms", "majority"],
        Parts("reviews.csv", "no text column given.", do="Add --text COLUMN."),
    ),
    "own without label": Case(
        ["check", "reviews.csv", "--text", "review", "--arms", "majority"],
        Parts("reviews.csv", "no label column given.", do="Add --label COLUMN."),
    ),
    "own without arms": Case(
        ["check", "reviews.csv", *OWN],
        Parts(
            "--arms",
            "no arms given.",
            do="Write, for example, --arms majority,lexical,head; `tuneproof show methods` lists all.",
        ),
    ),
    "own arms empty": Case(
        ["check", "reviews.csv", *OWN, "--arms", ","],
        Parts("command line", "arms is empty.", do=f"Allowed: {METHOD_NAMES}."),
    ),
    "own seeds": Case(
        ["check", "reviews.csv", *OWN, "--arms", "majority", "--seeds", "a"],
        Parts("command line", "seeds contains 'a'.", do="A seed is a whole number from 0 to 2147483647."),
    ),
    "own seeds yaml": Case(
        ["check", "reviews.csv", *OWN, "--arms", "majority", "--seeds", "[,"],
        Parts(
            "--seeds, line 1",
            "is not valid YAML: expected the node content, but found '<stream end>'.",
            do="Fix the line.",
        ),
    ),
    "folder": Case(
        ["check", "folder", *OWN, "--arms", "majority"],
        Parts("folder", "is a folder.", do="Name one file."),
        files={"folder/x": ""},
    ),
    "show unknown": Case(
        ["show", "loar"], Parts("show", "there is no entry called 'loar'.", do="Did you mean lora?")
    ),
    "report none": Case(
        ["report", "nowhere"],
        Parts(
            "nowhere",
            "holds no study (recipe.yaml is missing).",
            do="Name the folder that `tuneproof run` printed.",
        ),
        code=1,
    ),
    "report no study": Case(
        ["report", "folder"],
        Parts(
            "folder",
            "holds no study (recipe.yaml is missing).",
            do="Name the folder that `tuneproof run` printed.",
        ),
        files={"folder/x": ""},
        code=1,
    ),
    "report broken recipe": Case(
        ["report", "folder"],
        Parts(
            "folder",
            "holds no study (splits.json is missing).",
            do="Name the folder that `tuneproof run` printed.",
        ),
        files={"folder/recipe.yaml": "task: [\n"},
        code=1,
    ),
    "report half": Case(
        ["report", "folder"],
        Parts(
            "folder",
            "holds no study (splits.json is missing).",
            do="Name the folder that `tuneproof run` printed.",
        ),
        files={"folder/recipe.yaml": "task: demo\narms: [majority]\n"},
        code=1,
    ),
    "predict none": Case(
        ["predict", "nowhere", "--input", "reviews.csv", "--text", "review"],
        Parts(
            "nowhere",
            "holds no finished arm (arm.json is missing).",
            do="Name the folder of one: STUDY/arms/ARM.",
        ),
        code=1,
    ),
    "predict no arm": Case(
        ["predict", "folder", "--input", "reviews.csv", "--text", "review"],
        Parts(
            "folder",
            "holds no finished arm (arm.json is missing).",
            do="Name the folder of one: STUDY/arms/ARM.",
        ),
        files={"folder/x": ""},
        code=1,
    ),
    "compare none": Case(
        ["compare", "nowhere", "folder"],
        Parts(
            "nowhere",
            "holds no study (recipe.yaml is missing).",
            do="Name the folder that `tuneproof run` printed.",
        ),
        files={"folder/x": ""},
        code=1,
    ),
    "out is a file": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "taken", "--quiet"],
        Parts(
            "taken",
            "could not be written: File exists.",
            do="A file already has that name; name another folder. Files written before are complete.",
        ),
        files={"taken": "x"},
        code=1,
    ),
    "out under a file": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "taken/study", "--quiet"],
        Parts(
            "taken/study",
            "could not be written: <library>.",
            do="A file already has that name; name another folder. Files written before are complete.",
        ),
        files={"taken": "x"},
        code=1,
    ),
    "out nul": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "a\0b", "--quiet"],
        Parts("command line", "out is 'a\\x00b', not the name of a folder."),
    ),
    "out long": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "a" * 300, "--quiet"],
        Parts(
            ""
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "cannot be a study's folder: File name too long.",
            do="Name another folder with --out.",
        ),
        code=1,
    ),
    "what nul": Case(
        ["check", "a\0b", *OWN, "--arms", "majority"],
        Parts(
            "a\\x00b", "is not a recipe (.yaml), a task or an existing file.", do=f"Allowed: {TASK_NAMES}."
        ),
    ),
    "recipe nul": Case(["check", "a\0.yaml"], Parts("a\\x00.yaml", "cannot be read: embedded null byte.")),
    "read-only": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "study", "--quiet"],
        Parts(
            "study",
            "could not be written: Read-only file system.",
            do="Name another folder. Files written before are complete.",
        ),
        before=read_only,
        code=1,
    ),
    "full disk": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "study", "--quiet"],
        Parts(
            "study/recipe.yaml",
            "could not be written: No space left on device.",
            do="Free some space and give the same command again, or name another folder. "
            "Files written before are complete.",
        ),
        before=full_disk,
        code=1,
    ),
    "full disk late": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "study", "--quiet"],
        Parts(
            "study",
            "1 of 1 arms failed: majority. The first error: "
            "study/arms/majority/predictions.parquet: could not be written: No space left on "
            "device. Free some space and give the same command again, or name another folder. "
            "Files written before are complete.",
            do="The report gives each reason; the same command tries these arms again.",
        ),
        before=late_full_disk,
        code=1,
    ),
}

ARGUMENTS |= {
    "compare different items": Case(
        ["compare", "one/arms/majority", "two/arms/majority"],
        Parts(
            "majority of one and majority of two",
            "the items differ: 8 and 8 items, of which 2 ids are shared.",
            allowed="Only scores on the same items are comparable.",
            do="Run both arms in one study, so that they share the same items.",
        ),
        first=[RUN, TWO],
        code=1,
    ),
    "compare studies on different items": Case(
        ["compare", "one", "two"],
        Parts(
            "majority of one and majority of two",
            "the items differ: 8 and 8 items, of which 2 ids are shared.",
            allowed="Only scores on the same items are comparable.",
            do="Run both arms in one study, so that they share the same items.",
        ),
        first=[RUN, TWO],
        code=1,
    ),
    "compare by an unknown metric": Case(
        ["compare", "one", "one", "--metric", "acuracy"],
        Parts("metrics", "acuracy is not a metric.", allowed="Did you mean accuracy?"),
        first=[RUN],
        code=1,
    ),
    "compare an arm with a folder": Case(
        ["compare", "one/arms/majority", "folder"],
        Parts(
            "one/arms/majority",
            "holds no study (recipe.yaml is missing).",
            do="Name the folder that `tuneproof run` printed.",
        ),
        files={"folder/x": ""},
        first=[RUN],
        code=1,
    ),
    "folder of another study": Case(
        [*TWO[:-3], "one", "--set", "split.seed=1"],
        Parts(
            "one",
            "holds a study with different items: the items or labels of train, dev, test differ.",
            allowed="You can add arms, models and seeds to a study; its items stay the same.",
            do="Name another folder with --out, or run every arm again with --restart all.",
        ),
        first=[RUN],
    ),
    "arm from other settings": Case(
        [*RUN, "--set", "task.template='Says {text}'"],
        Parts(
            "one/arms/majority",
            "is a finished arm with other settings: task.labels.template was 'Text: {text} "
            "Label:', is 'Says {text}'.",
            do="Run it again with --restart majority (the old one is moved aside), keep it with "
            "--accept-change (recorded), give the arm another name, or name another folder with "
            "--out.",
        ),
        first=[RUN],
    ),
    "extending a study that was not run": Case(
        [*RUN, "--extend", "majority"],
        Parts("--extend", "one holds no study.", do="Run it without --extend first."),
    ),
    "extending an arm that the study does not have": Case(
        [*RUN, "--extend", "majorty"],
        Parts("--extend", "'majorty' is not an arm of this study.", do="Did you mean majority?"),
        first=[RUN],
    ),
    "extending a baseline": Case(
        [*RUN, "--extend", "majority"],
        Parts("--extend", "majority is not trained in epochs.", "Arms that are: none.", "Name one of them."),
        first=[RUN],
    ),
    "extending and restarting": Case(
        [*RUN, "--extend", "majority", "--restart", "all"],
        Parts("--extend", "cannot be combined with --restart.", do="Use one of them."),
    ),
    "study whose recipe is broken": Case(
        ["compare", "one", "one"],
        Parts(
            "one/recipe.yaml, line 1",
            "is not valid YAML: expected the node content, but found '<stream end>'.",
            do="Fix the line.",
        ),
        first=[RUN],
        files={"broken": "x"},
        before=break_recipe,
    ),
    "study whose predictions are broken": Case(
        ["compare", "one", "one"],
        Parts(
            "one/arms/majority/predictions.parquet",
            "is not a file of predictions (<library>).",
            do="Run the arm again.",
        ),
        first=[RUN],
        before=break_predictions,
        code=1,
    ),
    "publish: no arm": Case(
        ["publish", "nowhere", "me/it", "--to", "there"],
        Parts(
            "nowhere",
            "holds no finished arm (arm.json is missing).",
            do="Name the folder of one: STUDY/arms/ARM.",
        ),
        code=1,
    ),
    "publish: no name": Case(
        ["publish", "one/arms/majority", "it"],
        Parts(
            "it",
            "is not a name of a repository.",
            allowed="Allowed: letters, digits, dots and dashes on both sides of one slash.",
            do="Write OWNER/NAME.",
        ),
    ),
    "publish: into a folder that is full": Case(
        ["publish", "one/arms/majority", "me/it", "--to", "one"],
        Parts("one", "already exists.", do="Name another folder, or add --update."),
        first=[RUN],
    ),
    "predict: wrong column": Case(
        ["predict", "one/arms/majority", "--input", "reviews.csv", "--text", "body"],
        Parts(
            "reviews.csv",
            "has no column 'body'.",
            allowed="Its columns: review, sentiment.",
            do="Name one with --text.",
        ),
        first=[RUN],
    ),
    "predict: missing file": Case(
        ["predict", "one/arms/majority", "--input", "nowhere.csv"],
        Parts("nowhere.csv", "does not exist.", do="Check the path; it is relative to the current folder."),
        first=[RUN],
    ),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_bad_arguments_get_their_error(name, provoke):
    provoke(ARGUMENTS[name])


def test_a_check_that_fails_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.csv").write_text(GOOD + ",positive\n")
    assert main(["run", "own.csv", *OWN, "--arms", "majority", "--out", "study"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["own.csv"]
    assert "1 text is empty" in capsys.readouterr().err
