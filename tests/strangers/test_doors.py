"""Bad inputs 38 to 40 and the table: doors that are not there, and that no number lacks its test."""

import ast
import re
from pathlib import Path

import pytest

from tests.errors import test_command_line, test_count, test_data, test_models, test_questions, test_recipe
from tests.strangers.test_models import SOURCES, calls, imported
from tuneproof.cli.main import COMMANDS

HERE = Path(__file__).parent
PAGE_FILES = tuple(file.name for file in SOURCES if file.parent.name == "ui")


@pytest.mark.parametrize(
    "name", ["http.server", "socketserver", "flask", "fastapi", "uvicorn", "aiohttp", "asyncio"]
)
def test_38_there_is_no_server(name):
    allowed = SERVER_FILES if name in ("asyncio", "uvicorn") else ()
    assert [file.name for file in SOURCES if name in imported(file) and file.name not in allowed] == []
    assert "server" not in COMMANDS


# `tuneproof serve` and `tuneproof ui`, on this machine alone; the page answers who knows its token
SERVER_FILES = ("serve.py", "server.py", "request_batches.py", "http_server.py", *PAGE_FILES)


@pytest.mark.parametrize("name", ["bind", "listen", "accept", "create_server", "serve_forever"])
def test_38_nothing_listens(name):
    every = [call for file in SOURCES if file.name not in SERVER_FILES for call in calls(file)]
    assert [call for call in every if re.match(rf".*\.{name}\(", call) and "socket" in call] == []
    assert [call for call in every if call.startswith(("socket.socket(", "socket.create"))] == []


@pytest.mark.parametrize("name", ["ray", "dask", "pyspark", "torchrun"])
def test_39_and_40_no_cluster_is_started(name):
    found = {
        file.name
        for file in SOURCES
        for module in imported(file)
        if module == name or module.startswith(f"{name}.")
    }
    assert found == ({"ray_cluster.py"} if name == "ray" else set()), "by --on ray alone"


def test_40_processes_speak_in_one_place_and_send_no_objects():
    speaks = {file.name for file in SOURCES for m in imported(file) if m.startswith("torch.distributed")}
    simulated = {"fake_processes.py", "lazy_modules.py"}  # they exchange nothing
    assert speaks == {"process_group.py", "fsdp.py", *simulated}
    every = [call for file in SOURCES for call in calls(file)]
    assert [call for call in every if "_object" in call and "dist." in call] == []


def test_40_no_rendezvous_is_opened():
    every = [call for file in SOURCES for call in calls(file)]
    opened = [call for call in every if "init_process_group" in call]
    assert opened == ["dist.init_process_group(store=FakeStore(), rank=0, world_size=count)"], "simulated"


def test_programs_are_started_by_a_list_of_words_and_never_by_a_shell():
    programs = {}
    for file in SOURCES:
        tree = ast.parse(file.read_text("utf-8"))
        lists = {
            ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
            for node in ast.walk(tree)
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.List)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("subprocess."):
                command = ast.unparse(node.args[0])
                programs.setdefault(file.name, []).append(command.startswith("[") or command in lists)
    assert programs.keys() == {
        "provenance.py",
        "chat.py",
        "fresh_process.py",
        "gguf_file.py",
        "forecast_process.py",
        "tokenizer_trial.py",
        *("commands.py", "notebook.py"),  # the page's: this package's own command line
    }
    assert all(all(are_lists) for are_lists in programs.values())
    every = [call for file in SOURCES for call in calls(file)]
    assert [call for call in every if call.startswith(("os.system", "eval(", "exec("))] == []
    assert [call for call in every if "shell=True" in call] == []


def numbers(name: str) -> set[int]:
    """The bad inputs that a test's name begins with: test_07_, test_39_and_40_, test_21_to_25_."""
    found = re.match(r"test_(\d\d)(?:_(and|to)_(\d\d))?_", name)
    if not found:
        return set()
    first, how, last = found.groups()
    if how == "to":
        return set(range(int(first), int(last) + 1))
    return {int(first), int(last or first)}


def test_every_number_has_its_test():
    tested: dict[int, list[str]] = {}
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                for number in numbers(node.name):
                    tested.setdefault(number, []).append(node.name)
    assert sorted(tested) == list(range(1, 61))


def test_there_are_a_hundred_inputs_and_more(request):
    here = [item for item in request.session.items if "strangers" in str(item.path)]
    tables = (
        test_recipe.RECIPES,
        test_command_line.ARGUMENTS,
        test_data.OWN_FILES,
        test_models.MODELS,
        test_count.COUNTS,
        test_questions.QUESTIONS,
    )
    cases = [case for table in tables for case in table.values()]
    assert len(cases) >= 250
    assert all(case.parts.problem and case.code in (1, 2) for case in cases)
    if len({item.path.name for item in here}) >= 6:  # the whole table was asked for
        assert len(here) >= 300
