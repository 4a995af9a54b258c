"""`--json`: one object on standard output, errors too, with the exit code of the command without it."""

import ast
import json
from pathlib import Path

import pytest

from tests.cli.test_main import OWN, write_rows
from tuneproof.cli import json_output
from tuneproof.cli.json_output import json_alone, print_json, wants_json
from tuneproof.cli.main import COMMANDS, main
from tuneproof.cli.parser import EXIT_CODES, make_parser
from tuneproof.metrics import METRICS
from tuneproof.tasks import TASKS

CLI = Path(json_output.__file__).parent
WITHOUT_JSON = {"serve", "ui"}  # it answers requests until it is stopped


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with an own file and a finished study of two arms."""
    folder = tmp_path_factory.mktemp("json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_rows(folder / "own.csv")
        (folder / "further.csv").write_text("review,mood\na lovely day,good\na dreadful day,bad\n")
        arms = ["--arms", "majority,lexical", "--set", "tests.further=further.csv"]
        assert main(["run", *OWN, *arms, "--out", "study", "--quiet"]) == 0
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def object_of(capsys, args, code=0):
    capsys.readouterr()
    assert main([*args, "--json"]) == code
    value = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert isinstance(value, dict)
    return value


def parsers():
    return make_parser()._subparsers._group_actions[0].choices


def test_every_command_has_the_option_and_tells_the_exit_codes() -> None:
    for name, parser in parsers().items():
        options = {option for action in parser._actions for option in action.option_strings}
        assert "--json" in options or name in WITHOUT_JSON, name
        assert EXIT_CODES in parser.format_help(), name
    assert EXIT_CODES in make_parser().format_help()
    assert set(parsers()) == set(COMMANDS)


def test_no_file_of_the_command_line_prints_json_in_another_way() -> None:
    for path in CLI.glob("*.py"):
        names = {
            node.id for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Name)
        }
        assert path.name == "json_output.py" or not names & {"json_text", "printable_json"}, path.name


@pytest.mark.parametrize(
    ("args", "keys"),
    [
        (["report", "study"], {"html", "json", "markdown"}),
        (["compare", "study", "study"], {"comparisons"}),
        (["compare", "study/arms/lexical", "study/arms/majority"], {"comparisons"}),
        (["plan", "study"], {"plans"}),
        (["gate", "study", "--margin", "90"], {"is_shown", "sentence", "is_registered", "comparisons"}),
        (["predict", "study/arms/lexical", "--input", "own.csv", "--text", "review"], {"rows"}),
        (["show"], {"tasks", "models", "families", "methods", "metrics"}),
        (["show", "recipe-schema"], {"properties"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_prints_one_object(here, capsys, args, keys) -> None:
    assert keys <= set(object_of(capsys, args))


def test_predicted_rows_are_objects_or_the_users_file(here, capsys) -> None:
    args = ["predict", "study/arms/lexical", "--input", "own.csv", "--text", "review"]
    rows = object_of(capsys, args)["rows"]
    assert len(rows) == 40
    assert {"review", "mood", "predicted", "p_good", "p_bad"} == set(rows[0])
    assert object_of(capsys, [*args, "--output", "out.csv"]) == {"output": "out.csv"}


@pytest.mark.parametrize("name", ["lora", "sst2", "accuracy", "distilbert", "bert", "metrics", "settings"])
def test_what_show_lists_is_there_as_values(capsys, name) -> None:
    assert object_of(capsys, ["show", name])


def test_the_catalogs_are_complete(capsys) -> None:
    value = object_of(capsys, ["show"])
    assert [task["name"] for task in value["tasks"]] == list(TASKS)
    assert [metric["name"] for metric in value["metrics"]] == list(METRICS)
    settings = {setting["name"]: setting for setting in object_of(capsys, ["show", "lora"])["settings"]}
    assert settings["rank"]["description"]


@pytest.mark.parametrize(
    ("args", "code", "where"),
    [
        (["run", "own.csv", "--text", "review", "--label", "mood", "--arms", "majorty"], 2, "command line"),
        (["run", "nothing.yaml"], 2, "nothing.yaml"),
        (["check", "--arms", "lexical"], 2, "check"),
        (["checkk"], 2, ""),
        (["gate", "study", "--margin", "much"], 2, "gate"),
        (["gate", "nowhere"], 2, "nowhere"),
        (["report", "nowhere"], 1, "nowhere"),
        (["show", "lorra"], 2, "show"),
        (["predict", "study/arms/none"], 1, "study/arms/none"),
        (["compare", "study", "nowhere"], 1, "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_an_object_with_its_parts_and_the_same_exit_code(here, capsys, args, code, where) -> None:
    assert main(args) == code
    sentence = capsys.readouterr().err
    error = object_of(capsys, args, code)["error"]
    assert set(error) == {"where", "problem", "allowed", "do"}
    assert error["where"].startswith(where)
    assert error["problem"].partition("\n")[0] in sentence


def test_a_bug_is_an_object_too(here, capsys, monkeypatch) -> None:
    def fail(path):
        raise KeyError("nowhere")

    monkeypatch.setattr("tuneproof.record.plan.plan_study", fail)
    assert object_of(capsys, ["plan", "study"], 1)["error"]["problem"] == "KeyError: 'nowhere'"


def test_a_run_with_a_failed_arm_prints_one_object_with_the_error(here, capsys, monkeypatch) -> None:
    def fail(*args):
        raise ValueError("no words")

    monkeypatch.setattr("tuneproof.study.arm_session.run_baseline", fail)
    args = ["run", *OWN, "--arms", "majority,lexical", "--out", "failed"]
    value = object_of(capsys, args, 1)
    assert "2 of 2 arms failed" in value["error"]["problem"]
    assert [arm["status"] for arm in value["arms"]] == ["failed", "failed"]


def test_what_a_library_prints_goes_to_standard_error(capsys) -> None:
    with json_alone(True):
        print("downloading")
        print_json({"value": float("inf"), "list": (1.0, float("nan"))})
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"value": None, "list": [1.0, None]}
    assert printed.err == "downloading\n"


def test_the_option_counts_only_before_two_dashes() -> None:
    assert wants_json(["show", "--json"])
    assert not wants_json(["show", "--", "--json"])
