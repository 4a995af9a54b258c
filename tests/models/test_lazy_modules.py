"""Modules that few models need are imported when they are used, and are then what they always are."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.forked import run_forked
from tests.open_model import SHARED
from tuneproof.models import lazy_modules

HEAVY = ("torch._dynamo", "bitsandbytes", "scipy.optimize", "sklearn.metrics")


def run(code: str, *arguments: str, **environment: str) -> str:
    """What a new process prints. Raises: AssertionError with its errors where it fails."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert not done.returncode, done.stderr
    return done.stdout.strip()


STATE = """
import sys
def state(name):
    if name not in sys.modules:
        return "absent"
    return "lazy" if type(sys.modules[name]).__name__ == "_LazyModule" else "loaded"
"""


def test_a_model_with_an_adapter_is_built_without_the_heavy_modules() -> None:
    code = (
        STATE
        + """
import tuneproof
from peft import LoraConfig, get_peft_model
from tuneproof.methods.without_bitsandbytes import adapters_without_bitsandbytes
from transformers import BertConfig, BertForSequenceClassification
model = BertForSequenceClassification(BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))
with adapters_without_bitsandbytes(model):
    get_peft_model(model, LoraConfig(target_modules=["query"]))
import torch
torch.optim.AdamW(model.parameters()).zero_grad()
print(*(state(name) for name in sys.argv[1:]))
"""
    )
    states = run_forked(code, *HEAVY, "torch.distributed.tensor").split()
    assert "loaded" not in states, dict(zip((*HEAVY, "torch.distributed.tensor"), states, strict=True))


def test_a_lazy_module_loads_when_an_attribute_is_read() -> None:
    code = """
    import tuneproof
    import scipy.optimize, sys
    lazy = type(scipy.optimize).__name__
    minimum = scipy.optimize.minimize_scalar(lambda x: (x - 2) ** 2).x
    print(lazy, type(scipy.optimize).__name__, round(minimum, 4))
    assert scipy.optimize is sys.modules["scipy.optimize"]
    """
    assert run_forked(code) == "_LazyModule module 2.0"


def test_a_function_handed_out_early_loads_its_module_when_called() -> None:
    code = """
    import tuneproof
    from scipy.optimize import linear_sum_assignment
    import sys
    lazy = type(sys.modules["scipy.optimize"]).__name__
    rows, columns = linear_sum_assignment([[4, 1], [2, 3]])
    print(lazy, list(map(int, columns)))
    """
    assert run_forked(code) == "_LazyModule [1, 0]"


def test_compiled_code_is_compiled_and_what_is_left_out_of_it_stays_out() -> None:
    code = """
    import tuneproof
    import torch
    @torch.compiler.disable
    def left_out(x):
        return x + (1 if torch.compiler.is_compiling() else 2)
    def whole(x):
        return left_out(x * 3)
    eager = whole(torch.ones(1)).item()
    graphs = []
    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward
    compiled = torch.compile(whole, backend=backend)(torch.ones(1)).item()
    print(eager, compiled, len(graphs) > 0, type(torch._dynamo).__name__)
    """
    assert run_forked(code) == "5.0 5.0 True module"


def test_functions_registered_early_are_registered_once_the_compiler_is_there() -> None:
    code = """
    import tuneproof
    import torch
    def opaque(x):
        return x + 1
    assert torch._dynamo.allow_in_graph(opaque) is opaque
    lazy = type(torch._dynamo).__name__
    from torch._dynamo import allow_in_graph
    from torch._dynamo.trace_rules import is_callable_allowed
    def later(x):
        return x
    allow_in_graph(later)
    print(lazy, is_callable_allowed(opaque), is_callable_allowed(later))
    """
    assert run_forked(code) == "_LazyModule True True"


def test_questions_about_symbols_have_torchs_own_answers_for_plain_values() -> None:
    code = """
    import tuneproof, sys, torch
    from torch.fx.experimental import symbolic_shapes as shapes
    values = (True, False)
    def answers():
        size = torch.Size([2, 3])
        return [
            *(getattr(shapes, name)(value) for value in values for name in (
                "expect_true", "guard_or_false", "guard_or_true", "guard_size_oblivious",
                "statically_known_true", "sym_and", "sym_or")),
            *(shapes.sym_and(a, b) for a in values for b in values),
            *(shapes.sym_or(a, b) for a in values for b in values),
            shapes.sym_eq(size, [2, 3]), shapes.sym_eq(size, (2, 3, 1)),
            shapes.sym_eq(4, 4), shapes.sym_eq((), []),
            shapes.is_nested_int(3), shapes.is_nested_int(2.5),
        ]
    early = answers()
    assert type(shapes).__name__ == "_LazyModule", "a plain value loaded it"
    shapes.ShapeEnv
    print(type(shapes).__name__, early == answers())
    """
    assert run_forked(code) == "module True"


def test_a_class_handed_out_early_is_the_class_where_it_is_used() -> None:
    code = """
    import tuneproof, sys
    from sympy import Basic
    lazy = isinstance(3, Basic), type(sys.modules["sympy"]).__name__
    class Own(Basic):
        pass
    import sympy
    instances = isinstance(Own(), sympy.Basic), isinstance(sympy.Symbol("x"), Basic)
    print(*lazy, *instances, Own.__bases__[0].__module__)
    """
    assert run_forked(code) == "False _LazyModule True True sympy.core.basic"


def test_symbolic_shapes_are_computed_as_ever() -> None:
    code = """
    import tuneproof
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv
    with FakeTensorMode(shape_env=ShapeEnv()) as mode:
        x = mode.from_tensor(torch.ones(4, 5))
        print(tuple(map(int, (x.new_ones(3, 4) @ x).shape)))
    """
    assert run_forked(code) == "(3, 5)"


def test_the_type_of_sharded_tensors_is_there_to_compare_with() -> None:
    code = """
    import tuneproof
    import torch, sys
    from transformers.distributed import sharding_utils
    same = torch.ones(2)
    equal = sharding_utils._tied_params_are_equal(same, same.clone())
    print(equal, "torch.distributed.tensor" in sys.modules)
    """
    assert run_forked(code) == "True False"


@pytest.mark.slow
def test_a_launched_process_keeps_distributed_tensors() -> None:
    code = """
    import tuneproof
    import transformers.modeling_utils
    from transformers.utils import is_torch_distributed_available
    print(is_torch_distributed_available())
    """
    alone, launched = run(code), run(code, WORLD_SIZE="2", RANK="0")
    assert (alone, launched) == ("False", "True")


def test_what_is_imported_already_stays_as_it_is() -> None:
    code = """
    import scipy.optimize
    import tuneproof
    print(type(scipy.optimize).__name__)
    """
    assert run(code) == "module"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of its own among the lazy ones."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(lazy_modules.LAZY, "slow_package", {"early": lazy_modules._call_later})
    for name in [name for name in sys.modules if name.partition(".")[0] == "slow_package"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "slow_package").mkdir()
    return tmp_path / "slow_package"


def test_a_module_that_fails_fails_when_it_is_used_and_can_be_imported_again(package: Path) -> None:
    (package / "__init__.py").write_text("raise ImportError('no such library')\n")
    import slow_package  # type: ignore[import-not-found]

    with pytest.raises(ImportError, match="no such library"):
        _ = slow_package.value
    assert "slow_package" not in sys.modules
    (package / "__init__.py").write_text("value = 'a longer text, so that the file is read again'\n")
    import slow_package as again

    assert again.value.startswith("a longer text")


def test_a_module_that_imports_itself_through_a_submodule_loads(package: Path) -> None:
    (package / "__init__.py").write_text("first = 1\nfrom . import part\nvalue = part.doubled\n")
    (package / "part.py").write_text("import slow_package\ndoubled = 2 * slow_package.first\n")
    import slow_package

    assert slow_package.value == 2
    assert slow_package.part.doubled == 2


def test_a_submodule_loads_its_package_first(package: Path) -> None:
    (package / "__init__.py").write_text("first = 1\nfrom . import part\nown = part\n")
    (package / "part.py").write_text("import sys\nbefore = hasattr(sys.modules['slow_package'], 'first')\n")
    import slow_package.part

    assert slow_package.part.before
    assert slow_package.own is slow_package.part is sys.modules["slow_package.part"]
    assert slow_package.part.__spec__.origin == str(package / "part.py")
    assert type(slow_package).__name__ == "module"


def test_two_threads_load_a_module_once(package: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    log = package / "log"
    (package / "__init__.py").write_text(
        f"import time\nopen({str(log)!r}, 'a').write('x')\ntime.sleep(0.2)\nvalue = 7\n"
    )
    import slow_package

    with ThreadPoolExecutor(4) as pool:
        values = list(pool.map(lambda _: slow_package.value, range(4)))
    assert values == [7] * 4
    assert log.read_text() == "x"


def test_a_package_that_is_not_installed_is_missing_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lazy_modules.LAZY, "no_such_package", {})
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401


@pytest.mark.skipif(not (SHARED / "models/minilm-l6").is_dir(), reason="needs shared/models/minilm-l6")
def test_a_study_runs_to_its_end_without_the_heavy_modules(tmp_path: Path) -> None:
    rows = [f"{'fine' if i % 2 else 'dull'} row {i},{'good' if i % 2 else 'bad'}" for i in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    code = (
        STATE
        + """
from tuneproof.recipe.recipe import recipe_from
from tuneproof.study.run import run_study
model, folder, *names = sys.argv[1:]
run_study(recipe_from({
    "task": {"labels": {"path": folder + "/rows.csv", "text": "text", "label": "label"}},
    "models": [model], "arms": [{"lora": {"epochs": 1}}], "seeds": [0], "out": folder + "/out",
    "train": {"min_steps": 0}, "compute": {"device": "cpu"},
}))
print(*(state(name) for name in names))
"""
    )
    names = ("torch._dynamo", "bitsandbytes")
    states = run_forked(code, str(SHARED / "models/minilm-l6"), str(tmp_path), *names)
    assert "loaded" not in states.split()
