"""The house stays as it is drawn: import order, no circle, the torch wall, room cards, names, sizes."""

import ast
import subprocess
import sys

import pytest

from tests import house
from tests.house import GLOSSARY, ROOT, Module, function_named, length, main_path, modules

# "room/file.py: name" of a vague name that is the right one, with the reason; at most ten
ALLOWED_NAMES: dict[str, str] = {}
ORDER = (
    "redact",
    "errors",
    "settings",
    "atomic",
    "parent_process",
    "process_group",
    "metrics",
    "families",
    "hub",
    "tasks",
    "methods",
    "data",
    "recipe",
    "models",
    "train",
    "inference",
    "parameters",
    "memory",
    "throughput",
    "score",
    "record",
    "report",
    "context",
    "objectives",
    "arms",
    "study",
    "apply",
    "publish",
    "ui",
    "cli",
    "__main__",
)
WITHOUT_TORCH = (
    "redact",
    "errors",
    "settings",
    "atomic",
    "parent_process",
    "process_group",
    "metrics",
    "tasks",
    "recipe",
    "score",
    "record",
    "report",
)
FILES = [module for module in modules() if module.name != "tuneproof"]
each_file = pytest.mark.parametrize("file", modules(), ids=lambda file: file.short)


def test_every_room_is_in_the_order():
    rooms = {file.room for file in FILES}
    assert rooms <= set(ORDER), f"not in the order: {rooms - set(ORDER)}"
    assert len(FILES) > 30


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.short)
def test_no_file_imports_a_room_to_its_right(file: Module):
    for module in file.imports:
        assert module != "tuneproof", f"{file.short} imports the package root"
        room = module.split(".")[1]
        assert ORDER.index(room) <= ORDER.index(file.room), f"{file.short} imports {module}"


def test_there_is_no_circle():
    assert house.circles() == []


def test_behind_the_wall_there_is_no_torch():
    names = [file.name for file in FILES if file.room in WITHOUT_TORCH]
    names.append("tuneproof.inference.prediction")
    code = f"import sys\nfor m in {names!r}: __import__(m)\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@each_file
def test_every_file_opens_with_its_room_card(file: Module):
    card = ast.get_docstring(file.tree) or ""
    assert card, f"{file.short} has no room card"
    if file.path.name != "__init__.py":
        for mark in ("In:", "Out:", "Knows nothing of:"):
            assert mark in card, f"{file.short}: {mark!r} is missing from the room card"


@each_file
def test_a_file_is_short_and_its_name_says_what_it_is(file: Module):
    assert len(file.text.splitlines()) <= 400
    assert file.path.stem not in {"utils", "helpers", "common", "misc", "base", "manager"}


def test_no_function_is_longer_than_60_lines():
    long = {f"{file.short}: {f.name}": length(f) for file in modules() for f in file.functions}
    assert {where: lines for where, lines in long.items() if lines > 60} == {}


def test_at_most_4_percent_of_the_functions_are_complex():
    assert house.complex_share() <= 4, house.complex_functions()


def test_the_root_holds_at_most_9_files_and_the_source_58_000_lines():
    assert len([file for file in modules() if file.path.parent == ROOT]) <= 8
    assert sum(len(file.text.splitlines()) for file in modules()) <= 58_000  # 54,000 before the page (ui/)


def test_the_formatter_has_no_exceptions():
    assert [file.short for file in modules() if "# fmt: skip" in file.text] == []


def test_names_say_what_they_hold():
    vague = {f"{file.short}: {name}" for file in modules() for name in file.vague}
    assert sorted(vague - set(ALLOWED_NAMES)) == []
    assert sorted(set(ALLOWED_NAMES) - vague) == [], "no longer there"
    assert len(ALLOWED_NAMES) <= 10
    assert house.vague_share() < 1


def test_no_class_or_function_has_a_name_that_the_glossary_replaces():
    assert GLOSSARY.is_file()
    bans = house.glossary_bans()
    assert len(bans) > 20
    assert [(name, file, bans[name]) for name, file in house.defined_names() if name in bans] == []


def test_the_main_path_is_two_short_functions_and_8_frames_down_to_the_backward_pass():
    for file, name in (("study/run.py", "run_study"), ("arms/tuned.py", "run_tuned")):
        assert length(function_named(file, name)) <= 40, name
        assert f"{file}: {name}" in main_path().above_backward
    assert len(main_path().above_backward) <= 8, main_path().above_backward


def test_fit_alone_is_driven_by_hand():
    """A generator that passes on another's steps is a callback in disguise."""
    assert house.trampolines() == 0
