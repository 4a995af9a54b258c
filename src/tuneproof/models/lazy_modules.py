"""Modules of other packages that are imported when something in them is first used.

In: nothing. Out: an import system that puts off the modules of `LAZY`. Knows nothing of: who imports them.

transformers and PEFT import torch's compiler, sympy, distributed tensors, SciPy's optimisers, scikit-learn's
metrics and bitsandbytes for what few models need: half of the processor time until a BERT is loaded. Here
such a module stays empty until one of its attributes is read; then it loads itself, in place. So does
`importlib`'s LazyLoader; but these are imported for a decorator or one function, which is handed out first.
"""

import importlib
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from threading import RLock, get_ident
from types import ModuleType
from typing import Any

Later = Callable[[ModuleType, str], Any]
_registrations: list[tuple[ModuleType, str, Any]] = []


def _decorate_later(module: ModuleType, name: str) -> Callable[..., Any]:
    """A decorator that changes nothing before the module is loaded: until then nothing is compiled."""

    def decorate(function: Any = None, *args: Any, **options: Any) -> Any:
        if function is None:
            return lambda decorated: decorate(decorated, *args, **options)
        decorated: list[Any] = []

        @wraps(function)
        def call(*values: Any, **named: Any) -> Any:
            if not decorated:
                if not _is_loaded(module):
                    return function(*values, **named)
                decorated.append(getattr(module, name)(function, *args, **options))
            return decorated[0](*values, **named)

        return call

    return decorate


def _register_later(module: ModuleType, name: str) -> Callable[..., Any]:
    """A function that returns its argument, which the module registers once it is loaded."""

    def register(function: Any) -> Any:
        if _is_loaded(module):
            return getattr(module, name)(function)
        _registrations.append((module, name, function))
        return function

    return register


def _call_later(module: ModuleType, name: str) -> Callable[..., Any]:
    """A function that loads the module when it is called."""

    def call(*args: Any, **options: Any) -> Any:
        return getattr(_loaded(module), name)(*args, **options)

    return call


def _is_plain(value: Any) -> bool:
    """Whether a number, or a sequence of them, holds no symbol."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (int, float))


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_are_equal, one, other))
    return bool(one == other)


def _if_plain(answer: Callable[..., Any], kinds: type | tuple[type, ...] = bool) -> Later:
    """A function of values, plain or symbolic: the answer for plain ones, which do not need the module."""

    def later(module: ModuleType, name: str) -> Callable[..., Any]:
        def call(*values: Any, **options: Any) -> Any:
            if not options and all(isinstance(value, kinds) and _is_plain(value) for value in values):
                return answer(*values)
            return getattr(_loaded(module), name)(*values, **options)

        return call

    return later


class _TypeLater:
    """In place of a class that has no instances before its module is loaded, for isinstance."""

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module, self._name = module, name

    def __instancecheck__(self, value: Any) -> bool:
        return _is_loaded(self._module) and isinstance(value, self._loaded_type())

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        return (self._loaded_type(),)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._loaded_type()(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loaded_type(), name)

    def _loaded_type(self) -> Any:
        return getattr(_loaded(self._module), self._name)


def _nothing(module: ModuleType, name: str) -> Callable[..., Any]:
    """A function that does nothing where nothing is compiled."""
    return lambda: getattr(module, name)() if _is_loaded(module) else None


_same = _if_plain(lambda value: value)
LAZY: dict[str, dict[str, Later]] = {  # a module: names in it that are handed out without loading it
    "torch._dynamo": {
        "allow_in_graph": _register_later,
        "assume_constant_result": _decorate_later,
        "disable": _decorate_later,
        "graph_break": _nothing,
    },
    "sympy": {"Basic": _TypeLater},
    "torch.fx.experimental.symbolic_shapes": {  # every check of a shape asks for these
        "expect_true": _same,
        "guard_or_false": _same,
        "guard_or_true": _same,
        "guard_size_oblivious": _same,
        "guarding_hint_or_throw": _call_later,
        "has_guarding_hint": _call_later,
        "is_nested_int": _if_plain(lambda value: False, (int, float)),
        "statically_known_true": _same,
        "sym_and": _if_plain(lambda *values: all(values)),
        "sym_eq": _if_plain(_are_equal, (int, list, tuple)),
        "sym_or": _if_plain(lambda *values: any(values)),
    },
    "bitsandbytes": {},
    "scipy.optimize": {"linear_sum_assignment": _call_later},
    "sklearn.metrics": {"roc_curve": _call_later},
}
ALONE = (  # submodules that need nothing of their package
    "torch._dynamo._trace_wrapped_higher_order_op",
    "torch._dynamo.config",
)


class _LazyModule(ModuleType):
    """A module that loads itself when an attribute is read that it does not have yet."""

    def __getattribute__(self, name: str) -> Any:
        names = super().__getattribute__("__dict__")  # __file__, which inspect reads, and `ALONE`
        if name in names or name == "__path__" or hasattr(ModuleType, name):  # no package, no path
            return super().__getattribute__(name)
        loader = names["__spec__"].loader
        if loader.loading_thread == get_ident():
            return super().__getattribute__(name)
        later = LAZY[names["__name__"]].get(name)
        return later(self, name) if later else getattr(_loaded(self), name)


class _LazyLoader:
    """Leaves the module empty; `load` fills it with the loader that it would have had."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.loading_thread, self.lock = loader, 0, RLock()

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return ModuleType(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Load nothing yet."""
        module.__class__ = _LazyModule

    def load(self, module: ModuleType) -> None:
        """Raises: what the module raises; it is gone then, as after any import that failed."""
        self.loading_thread = get_ident()  # what it imports may import it, and sees what is there so far
        try:
            self.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(module.__name__, None)
            raise
        finally:
            self.loading_thread = 0
        if not _is_loaded(module):
            module.__class__ = ModuleType
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        for other, name, function in _registrations:
            if other is module:
                getattr(module, name)(function)

    def __getattr__(self, name: str) -> Any:  # is_package, get_source, get_data, …
        return getattr(self.loader, name)


class _PresentLoader:
    """Hands out a module that is there already: the import system would make a second one of its spec."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec, self.loader = module, module.__spec__, module.__loader__

    @classmethod
    def spec_of(cls, module: ModuleType) -> importlib.machinery.ModuleSpec:
        """A spec with this loader, which is the module's until it is handed out."""
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, cls(module))  # type: ignore[arg-type]
        return module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Take back what the import system has set."""
        module.__spec__, module.__loader__ = self.spec, self.loader


def _is_loaded(module: ModuleType) -> bool:
    return type(module) is not _LazyModule


def _loaded(module: ModuleType) -> ModuleType:
    """The module itself, loaded. Raises: what the module raises while it is imported."""
    loader = module.__loader__
    if isinstance(loader, _LazyLoader):
        with loader.lock:
            if not loader.loading_thread and not _is_loaded(module):
                loader.load(module)
    return module


class _LazyFinder:
    """Finds the modules of `LAZY` as others find them, to be loaded later."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        parent = name.rpartition(".")[0]
        if parent in LAZY and name not in ALONE and parent in sys.modules:
            _loaded(sys.modules[parent])
            if name in sys.modules:  # its package imported it just now
                return _PresentLoader.spec_of(sys.modules[name])
        if name == "transformers.distributed":
            _leave_out_process_groups()
        if name not in LAZY and parent != "transformers.distributed":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            wrap = _LazyLoader if name in LAZY else _UnshardedLoader
            spec.loader = wrap(spec.loader)  # type: ignore[assignment]
        return spec


class _NotSharded:
    """In place of torch.distributed.tensor, of which PEFT reads an attribute without importing it."""

    class DTensor:
        """The type of no tensor while the module is not imported."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("torch.distributed.tensor"), name)


class _UnshardedLoader:
    """Gives transformers' modules the name of the type that they compare with without having imported it."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        module.__dict__.setdefault("DTensor", _NotSharded.DTensor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def _leave_out_process_groups() -> None:
    """Let transformers take torch for a build without distributed tensors where this process is alone.

    transformers asks once, and shards nothing here: our own code does.
    """
    import torch.distributed
    from transformers.utils import is_torch_distributed_available

    groups = torch.distributed
    if "WORLD_SIZE" in os.environ or not groups.is_available() or groups.is_initialized():
        return
    if "torch.distributed.tensor" not in sys.modules:
        groups.tensor = _NotSharded()  # type: ignore[assignment]  # an import replaces it
    is_available = groups.is_available
    groups.is_available = lambda: False
    try:
        is_torch_distributed_available()
    finally:
        groups.is_available = is_available


def put_off_imports() -> None:
    """Import the modules of `LAZY` when they are first used. Those already imported stay as they are."""
    if not any(isinstance(finder, _LazyFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LazyFinder())
