"""The command line: quick, quiet when piped, safe in a terminal; a study from arguments alone."""

import csv
import io
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tuneproof.cli.main import COMMANDS, main
from tuneproof.cli.parser import make_parser
from tuneproof.cli.study_arguments import recipe_from_args
from tuneproof.errors import RecipeError
from tuneproof.methods import METHODS
from tuneproof.metrics import METRICS
from tuneproof.recipe.recipe import read_recipe
from tuneproof.tasks import TASKS

HEAVY = ("torch", "transformers", "pandas", "sklearn", "scipy", "pyarrow", "datasets", "peft", "accelerate")
ESCAPE = "\x1b"
OWN = ["own.csv", "--text", "review", "--label", "mood"]


def write_rows(path: Path, good: str = "good", bad: str = "bad", more: str = "") -> Path:
    """Forty reviews, half of each label; the label shows in the words."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["review", "mood"])
        for number in range(20):
            rows.writerow([f"a lovely evening, number {number}{more}", good])
            rows.writerow([f"a dreadful evening, number {number}{more}", bad])
    return path


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "own.csv")
    return tmp_path


def piped(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, its output piped."""
    command = [sys.executable, "-m", "tuneproof", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


# Quick


LIGHT = [
    [],
    ["--help"],
    ["run", "--help"],
    ["--version"],
    ["show"],
    ["show", "lora"],
    ["show", "sst2"],
    ["show", "recipe-schema"],
    ["check", "nowhere.yaml"],
    ["count", "--help"],
    ["count", "demo", "--method", "lorra"],
    ["count", "nowhere"],
]


def test_what_needs_no_model_loads_no_heavy_package():
    code = (
        "import sys\nfrom tuneproof.cli.main import main\n"
        f"for args in {LIGHT!r}:\n"
        " try: main(args)\n except SystemExit: pass\n"
        f" print(args, [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert loaded == [f"{args} []" for args in LIGHT]


# Arguments


def test_the_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tuneproof {version('tuneproof')}\n"


def test_without_a_command_the_help_comes_with_examples(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert "tuneproof demo" in printed
    assert all(command in printed for command in COMMANDS)


def test_every_option_says_what_it_does():
    for action in make_parser()._subparsers._group_actions[0].choices.values():
        for option in action._actions:
            assert option.help, f"{action.prog} {option.dest}"


@pytest.mark.parametrize("catalog", ["tasks", "models", "families", "methods", "metrics"])
def test_show_lists_a_catalog(catalog, capsys):
    assert main(["show", catalog]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 4


@pytest.mark.parametrize("name", [*TASKS, *METHODS, *METRICS])
def test_show_explains_every_entry(name, capsys):
    assert main(["show", name]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(name)
    assert "Source: " in printed


def test_show_gives_the_schema_as_json(capsys):
    assert main(["show", "recipe-schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["required"]) == {"task", "arms"}


def test_an_unknown_option_names_the_nearest(capsys):
    assert main(["run", "demo", "--model", "demo"]) == 2
    assert capsys.readouterr().err == "tuneproof: run: --model is not an option. Did you mean --models?\n"


# Lists


def arguments(*args: str):
    return make_parser().parse_args(["check", *args])


def test_lists_are_separated_by_commas(here):
    options = [*OWN, "--models", "distilbert, bert", "--arms", "majority,head", "--seeds", "0,3"]
    recipe = recipe_from_args(arguments(*options, "--slices", "review,mood"))
    assert [model.id for model in recipe.models] == ["distilbert", "bert"]
    assert [arm.name for arm in recipe.arms] == ["majority", "head"]
    assert recipe.seeds == (0, 3)
    assert recipe.task_options.slices == ("review", "mood")


def test_a_path_with_a_comma_needs_a_recipe(here):
    (here / "a,b").mkdir()
    with pytest.raises(RecipeError) as error:
        recipe_from_args(arguments(*OWN, "--models", "a,b", "--arms", "head"))
    assert str(error.value) == (
        "--models: the path a,b contains a comma, and commas separate models. "
        "Name the model in a recipe (.yaml): models: [PATH]."
    )


# check


def test_check_prints_the_plan_and_writes_nothing(here, capsys):
    assert main(["check", *OWN, "--arms", "majority,lexical", "--seeds", "0,1"]) == 0
    printed = capsys.readouterr().out
    for part in ("train 28, dev 4, test 8", "bad, good", "majority", "lexical over majority"):
        assert part in printed
    assert [path.name for path in here.iterdir()] == ["own.csv"]


def test_check_as_json(here, capsys):
    assert main(["check", *OWN, "--arms", "majority,lexical", "--json", "--out", "there"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["sizes"]["test"] == 8
    assert [arm["arm"] for arm in plan["arms"]] == ["majority", "lexical"]
    assert plan["folder"] == "there"
    assert not Path("there").exists()


# run


@pytest.fixture
def study(here, capsys) -> tuple[Path, str]:
    """A study by the quick form, and what was printed."""
    assert main(["run", *OWN, "--arms", "majority,lexical", "--out", "study"]) == 0
    return here / "study", capsys.readouterr().out


def test_run_ends_with_a_verdict_and_the_reports_path(study):
    folder, printed = study
    assert "Report: study/report.html" in printed
    report = json.loads((folder / "report.json").read_text())
    assert report["verdict"]["headline"] in printed
    assert [arm["status"] for arm in report["arms"]] == ["done", "done"]
    for name in ("report.html", "report.md", "recipe.yaml", "audit.json", "provenance.json"):
        assert (folder / name).is_file()
    assert json.loads((folder / "provenance.json").read_text())["command"] == (
        "tuneproof run own.csv --text review --label mood --arms majority,lexical --out study"
    )


def test_the_recipe_that_run_writes_runs_alone_and_skips_what_is_finished(study, capsys):
    folder, _ = study
    recipe = read_recipe(folder / "recipe.yaml")
    assert (recipe.task_name, [arm.name for arm in recipe.arms]) == ("labels", ["majority", "lexical"])
    before = (folder / "arms" / "lexical" / "predictions.parquet").stat().st_mtime_ns
    assert main(["run", str(folder / "recipe.yaml")]) == 0
    assert capsys.readouterr().out.count("already finished") == 2
    assert (folder / "arms" / "lexical" / "predictions.parquet").stat().st_mtime_ns == before


def test_json_is_all_that_run_prints_when_asked(here, capsys):
    assert main(["run", *OWN, "--arms", "majority,lexical", "--out", "study", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads(Path("study/report.json").read_text())


def test_quiet_shows_the_result_alone(here, capsys):
    assert main(["run", *OWN, "--arms", "majority,lexical", "--out", "study", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "✓" not in printed
    assert "Report: " in printed


def test_piped_output_has_no_codes_for_a_terminal(here):
    done = piped("run", *OWN, "--arms", "majority,lexical", "--out", "study", cwd=here)
    assert done.returncode == 0, done.stderr
    assert ESCAPE not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    assert "✓" in done.stdout


def test_an_error_goes_to_standard_error_alone(here):
    done = piped("run", *OWN, "--arms", "majorty", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"tuneproof: .*Did you mean majority\?\n", done.stderr)


def interrupt(*args: object, **more: object) -> None:
    raise KeyboardInterrupt


def test_a_stopped_run_prints_the_command_that_resumes_it(here, capsys, monkeypatch):
    monkeypatch.setattr("tuneproof.study.run.run_study", interrupt)
    assert main(["run", *OWN, "--arms", "majority"]) == 3
    printed = capsys.readouterr().err
    assert printed.startswith("tuneproof: Ctrl-C: stopped. ")
    assert printed.endswith("tuneproof run own.csv --text review --label mood --arms majority\n")


def test_another_command_that_is_stopped_says_so(here, capsys, monkeypatch):
    monkeypatch.setattr("tuneproof.study.plan.check", interrupt)
    assert main(["check", *OWN, "--arms", "majority"]) == 3
    assert capsys.readouterr().err == "tuneproof: stopped.\n"


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m tuneproof show recipe-schema | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{\n", "")


# Afterwards


def test_report_renders_again_from_the_files_alone(study, capsys):
    folder, _ = study
    first = (folder / "report.json").read_text()
    for name in ("report.html", "report.json", "report.md"):
        (folder / name).unlink()
    moved = folder.rename(folder.with_name("moved"))
    assert main(["report", "moved"]) == 0
    assert capsys.readouterr().out == "moved/report.html\n"
    assert (moved / "report.json").read_text() == first


def test_compare_says_the_sentence(study, capsys):
    assert main(["compare", "study/arms/lexical", "study/arms/majority"]) == 0
    assert "lexical" in capsys.readouterr().out
    assert main(["compare", "study/arms/lexical", "study/arms/majority", "--json"]) == 0
    (comparison,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert (comparison["arm"], comparison["over"], comparison["n"]) == ("lexical", "majority", 8)


def test_predict_labels_a_file_and_the_lines_of_standard_input(study, capsys, monkeypatch):
    args = ["predict", "study/arms/lexical"]
    assert main([*args, "--input", "own.csv", "--text", "review"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["predicted"] for row in rows] == ["good", "bad"] * 20
    assert float(rows[0]["p_good"]) + float(rows[0]["p_bad"]) == pytest.approx(1)
    monkeypatch.setattr("sys.stdin", io.StringIO("a lovely day\na dreadful day\n"))
    assert main(args) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["predicted"] for row in rows] == ["good", "bad"]


# Hostile files

HOSTILE = f"{ESCAPE}]0;title\x07{ESCAPE}[31mred{ESCAPE}[2J[bold]\u202e"


@pytest.mark.parametrize("args", [["check"], ["run", "--out", "study"]], ids=["check", "run"])
def test_no_label_or_text_of_a_file_steers_the_terminal(args, here, capsys, monkeypatch):
    write_rows(here / "own.csv", good=f"good{HOSTILE}", bad=f"bad{HOSTILE}", more=HOSTILE)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal, where colour is our own
    assert main([*args, *OWN, "--arms", "majority,lexical"]) == 0
    printed = capsys.readouterr()
    rest = re.sub(r"\x1b\[([0-9;]*m|\?25[lh]|2K|1A)|\r", "", printed.out + printed.err)  # rich's own
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", rest)
    assert f"{ESCAPE}[31mred" not in printed.out


def test_no_text_of_an_error_steers_the_terminal(here, capsys):
    text = (here / "own.csv").read_text()
    (here / "own.csv").write_text(text + f"fine,good{HOSTILE}\n")
    args = ["check", *OWN, "--arms", "majority", "--set", "task.labels.labels=[good, bad]"]
    assert main(args) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert ESCAPE not in printed
    assert "\u202e" not in printed
    assert "\\x1b" in printed


def test_check_on_a_local_model_loads_no_torch(here):
    code = (
        "import sys; from tuneproof.cli.main import main\n"
        f"sys.argv = ['tuneproof', 'check', *{OWN!r}, '--models', 'demo', '--arms', 'few-shot,head,lora']\n"
        "code = main()\n"
        "print([name for name in ('torch', 'accelerate', 'peft', 'sklearn') if name in sys.modules])\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert "PyTorch was not found" not in done.stdout + done.stderr


def test_a_demo_in_another_folder_resumes_there(monkeypatch, capsys) -> None:
    calls = []

    def record(recipe, monitor, policy, on, command):
        calls.append((recipe.out, command))

    monkeypatch.setattr("tuneproof.study.run.run_study", record)
    assert main(["demo", "--out", "an other"]) == 0
    assert calls == [("an other", "tuneproof demo --out 'an other'")]
