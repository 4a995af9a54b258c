"""The house stays as it was drawn: import order, no cycles, the torch wall, room cards, sizes."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "tuneproof"
ORDER = (
    "redact",
    "errors",
    "settings",
    "atomic",
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
    "cli",
    "__main__",
)
WITHOUT_TORCH = (
    "redact",
    "errors",
    "settings",
    "atomic",
    "process_group",
    "metrics",
    "tasks",
    "recipe",
    "score",
    "record",
    "report",
)
FILES = sorted(ROOT.rglob("*.py"))


def room(module: str) -> str:
    """tuneproof.score.compare -> score"""
    return module.split(".")[1]


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> set[str]:
    """Every tuneproof module that the file imports, at the top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: relative import"
            found.add(node.module or "")
            inner = ROOT.parent / (node.module or "").replace(".", "/")
            found |= {
                f"{node.module}.{alias.name}" for alias in node.names if (inner / f"{alias.name}.py").exists()
            }
    return {module for module in found if module.split(".")[0] == "tuneproof"}


def test_every_room_has_its_place_in_the_order():
    rooms = {room(name_of(file)) for file in FILES if name_of(file) != "tuneproof"}
    assert rooms <= set(ORDER), f"not in the order: {rooms - set(ORDER)}"
    assert len(FILES) > 30


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_imports_a_room_to_its_right(file):
    if file.parent == ROOT and file.name == "__init__.py":
        pytest.skip("the root loads its names when they are used")
    here = ORDER.index(room(name_of(file)))
    for module in imports(file):
        assert module != "tuneproof", f"{file.name} imports the package root"
        assert ORDER.index(room(module)) <= here, f"{file.name} imports {module}"


def test_there_is_no_cycle():
    graph = {name_of(file): {m for m in imports(file) if m != name_of(file)} for file in FILES}
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> None:
        assert module not in path, f"cycle: {path[path.index(module) :]}"
        if module in done or module not in graph:
            return
        path.append(module)
        for other in graph[module]:
            visit(other)
        path.pop()
        done.add(module)

    for module in graph:
        visit(module)


def test_behind_the_wall_there_is_no_torch():
    modules = [
        name_of(file)
        for file in FILES
        if name_of(file) != "tuneproof" and room(name_of(file)) in WITHOUT_TORCH
    ]
    modules.append("tuneproof.inference.prediction")
    code = f"import sys\nfor m in {modules!r}: __import__(m)\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_opens_with_its_room_card(file):
    card = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    assert card, f"{file.name} has no room card"
    if file.name != "__init__.py":
        for word in ("In:", "Out:", "Knows nothing of:"):
            assert word in card, f"{file.name}: the room card lacks {word!r}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_stay_short(file):
    text = file.read_text("utf-8")
    assert len(text.splitlines()) <= 400, f"{file.name} is too long"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 80, f"{file.name}: {node.name} has {length} lines"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_names_say_what_a_file_is(file):
    assert file.stem not in {"utils", "helpers", "common", "misc", "base", "manager"}
