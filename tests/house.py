"""How the package is built, in figures: `python -m tests.house` prints them beside their bounds.

In: the package's source; for the main path, a tiny study that runs. Out: figures, and a table. Knows nothing
of: what a module is for.
"""

import ast
import os
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from unittest import mock

REPOSITORY = Path(__file__).parents[1]
ROOT = REPOSITORY / "src" / "tuneproof"
GLOSSARY = REPOSITORY / "docs" / "glossary.md"
VAGUE = {
    *("found", "place", "places", "said", "asked", "told", "kept", "known"),
    *("given", "begun", "tried", "wanted", "heard", "taken", "shown", "got"),
}
CONTEXT = {"study", "arm", "spec", "compute", "seed"}  # what ArmContext holds
COMPLEXITY = 10
BRANCHES = (
    *(ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While),
    *(ast.ExceptHandler, ast.Assert, ast.match_case),
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A file of the package and its syntax."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def short(self) -> str:
        """'score/compare.py'"""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def name(self) -> str:
        """'tuneproof.score.compare'"""
        parts = self.path.relative_to(ROOT.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def room(self) -> str:
        """'score'"""
        return self.name.split(".")[1]

    @cached_property
    def functions(self) -> list[Function]:
        """All functions, methods and inner functions among them."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @cached_property
    def bindings(self) -> list[str]:
        """Names of variables and parameters, each as often as it is bound."""
        nodes = list(ast.walk(self.tree))
        variables = [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        return variables + [n.arg for n in nodes if isinstance(n, ast.arg)]

    @property
    def vague(self) -> list[str]:
        """Those of its bindings that say nothing."""
        return [name for name in self.bindings if name.strip("_").lower() in VAGUE]

    @cached_property
    def imports(self) -> set[str]:
        """The package's modules that it imports, at the top or inside functions."""
        modules = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.short}: relative import"
                package = node.module or ""
                folder = ROOT.parent / package.replace(".", "/")
                modules.add(package)
                modules |= {
                    f"{package}.{alias.name}"
                    for alias in node.names
                    if (folder / f"{alias.name}.py").exists()
                }
        return {module for module in modules if module.split(".")[0] == "tuneproof"} - {self.name}


@cache
def modules() -> list[Module]:
    """Every file of the package."""
    return [Module(path) for path in sorted(ROOT.rglob("*.py"))]


def length(function: Function) -> int:
    """Lines from `def` to the last one."""
    return (function.end_lineno or 0) - function.lineno + 1


def function_named(module: str, name: str) -> Function:
    """`function_named("study/run.py", "run_study")`"""
    (file,) = [file for file in modules() if file.short == module]
    (function,) = [function for function in file.functions if function.name == name]
    return function


def longest_function() -> tuple[int, str]:
    """Its lines, and where it is."""
    return max((length(f), f"{file.short}: {f.name}") for file in modules() for f in file.functions)


def vague_share() -> float:
    """Vague names per 100 bindings."""
    return 100 * sum(len(m.vague) for m in modules()) / sum(len(m.bindings) for m in modules())


def trampolines() -> int:
    """`yield from` outside of `train/`."""
    return sum(
        isinstance(node, ast.YieldFrom)
        for file in modules()
        if not file.short.startswith("train/")
        for node in ast.walk(file.tree)
    )


def takes_context_apart(function: Function) -> bool:
    """Whether it takes three or more of what one ArmContext holds."""
    arguments = function.args
    names = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    return len(names & CONTEXT) >= 3


def complexity(function: Function) -> int:
    """Cyclomatic complexity as radon counts it: comprehensions, conditions and boolean operators too.

    ruff's C901 counts statements alone and is far more lenient.
    """
    total, nodes = 1, list(ast.iter_child_nodes(function))
    while nodes:
        node = nodes.pop()
        if isinstance(node, (*Function.__args__, ast.ClassDef)):
            continue  # counted by itself
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.BoolOp):
            total += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            total += 1 + len(node.ifs)
        else:
            total += isinstance(node, BRANCHES)
    return total


def complex_functions() -> list[tuple[int, str]]:
    """Functions above COMPLEXITY, the worst first."""
    worst = [(complexity(f), f"{file.short}: {f.name}") for file in modules() for f in file.functions]
    return sorted(((value, where) for value, where in worst if value > COMPLEXITY), reverse=True)


def complex_share() -> float:
    """Percent of all functions."""
    return 100 * len(complex_functions()) / sum(len(file.functions) for file in modules())


def circles() -> list[list[str]]:
    """Modules that import each other, along the way."""
    graph = {file.name: file.imports for file in modules()}
    done: set[str] = set()
    rings = []

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            rings.append([*path[path.index(name) :], name])
        elif name in graph and name not in done:
            for imported in graph[name]:
                visit(imported, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return rings


def glossary_bans() -> dict[str, str]:
    """Names that the glossary replaces, with the names that it wants instead."""
    replaced, wanted_names = {}, set()
    for line in GLOSSARY.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) < 3 or cells[2].lower() == "not" or set(cells[2]) <= set(":- "):
            continue
        wanted_names |= set(identifiers(cells[1]))
        replaced |= dict.fromkeys(identifiers(cells[2]), cells[1])
    return {name: instead for name, instead in replaced.items() if name not in wanted_names}


def identifiers(cell: str) -> Iterator[str]:
    """Single names between commas or semicolons, with or without code marks and brackets."""
    for part in cell.replace(";", ",").split(","):
        name = part.strip().strip("`").removesuffix("()").rpartition(".")[2]
        if name.isidentifier():
            yield name


def defined_names() -> Iterator[tuple[str, str]]:
    """Every class and function: its name and its file."""
    for file in modules():
        for node in ast.walk(file.tree):
            if isinstance(node, (ast.ClassDef, *Function.__args__)):
                yield node.name, file.short


@dataclass(frozen=True)
class MainPath:
    """Frames of the package from the command line, outermost first: 'cli/main.py: main'."""

    to_backward: list[str]
    to_report: list[str]

    @property
    def above_backward(self) -> list[str]:
        """Frames down to `train/gradients.py`, which runs the forward and backward passes of a step.

        What it calls in turn, to try again when memory runs out, is printed and not counted.
        """
        rooms = [frame.partition(":")[0] for frame in self.to_backward]
        return self.to_backward[: rooms.index("train/gradients.py") + 1]

    @property
    def functions(self) -> list[str]:
        """Each once, in the order of the stacks."""
        return list(dict.fromkeys((*self.to_backward, *self.to_report)))


@cache
def main_path() -> MainPath:
    """The stacks of a real run: at the first backward pass of training, and when the report is written."""
    import torch

    from tests.arms.small import small_recipe
    from tests.tiny_models import tiny_model
    from tuneproof.cli.main import main

    stacks: dict[str, list[str]] = {}

    def keep_stack(kind: str) -> None:
        frames = [
            f"{Path(frame.filename).relative_to(ROOT)}: {frame.name}"
            for frame in traceback.extract_stack()
            if Path(frame.filename).is_relative_to(ROOT)
        ]
        if not any(frame.startswith("study/forecast.py") for frame in frames):  # it times steps of its own
            stacks.setdefault(kind, frames)

    def backward(self: torch.Tensor, *args: object, **options: object) -> None:
        keep_stack("backward")
        plain_backward(self, *args, **options)

    def replace(source: str, target: str) -> None:
        if str(target).endswith("report.html"):
            keep_stack("report")
        plain_replace(source, target)

    plain_backward, plain_replace = torch.Tensor.backward, os.replace
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model = tiny_model(root / "bert", "distilbert")
        arms = ["majority", {"full": {"learning_rate": 1e-3}}]
        recipe = small_recipe(root, [model], arms, train={"epochs": 1, "self_test": False})
        (root / "recipe.yaml").write_text(recipe.text())
        with mock.patch.object(torch.Tensor, "backward", backward), mock.patch.object(os, "replace", replace):
            code = main(["run", str(root / "recipe.yaml"), "--quiet"])
    assert code == 0
    return MainPath(stacks["backward"], stacks["report"])


def figures() -> list[tuple[str, str, str, str]]:
    """Rows of the table: what, before the rooms were named anew, now, the bound."""
    path, (lines, where) = main_path(), longest_function()
    files = {function.partition(":")[0] for function in path.functions}
    apart = sum(takes_context_apart(f) for file in modules() for f in file.functions)
    skips = sum(file.text.count("# fmt: skip") for file in modules())
    root_files = len([file for file in modules() if file.path.parent == ROOT])
    return [
        ("vague names per 100 bindings", "6.3", f"{vague_share():.2f}", "< 1"),
        ("functions on the main path", "27 in 13 files", f"{len(path.functions)} in {len(files)} files", ""),
        ("frames down to the first backward pass", "15", str(len(path.above_backward)), "8"),
        ("`yield from` outside train/", "70", str(trampolines()), ""),
        (f"functions that take 3+ of {', '.join(sorted(CONTEXT))}", "28", str(apart), ""),
        ("`# fmt: skip` in src", "239", str(skips), "0"),
        (f"functions above complexity {COMPLEXITY}", "7.1 %", f"{complex_share():.1f} %", "4 %"),
        ("longest function", "76 lines", f"{lines} lines ({where})", "60"),
        ("files at the package's root", "25", str(root_files), "8"),
        ("circles", "0", str(len(circles())), "0"),
        ("source lines", "32,135", f"{sum(len(file.text.splitlines()) for file in modules()):,}", "37,000"),
    ]


def print_figures() -> None:
    """The table, and the main path below it."""
    table = [("", "before", "now", "at most"), *figures()]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for title, stack in (
        ("first backward pass", main_path().to_backward),
        ("written report", main_path().to_report),
    ):
        print(f"\nFrom the command line to the {title}:")
        print("\n".join(f"  {frame}" for frame in stack))


if __name__ == "__main__":
    print_figures()
