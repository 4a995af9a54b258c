"""Adapters put into a model without importing bitsandbytes, where none of its layers are quantised.

In: a model. Out: a context. Knows nothing of: methods, options, how layers are quantised.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def adapters_without_bitsandbytes(model: Any) -> Iterator[None]:
    """Let PEFT put adapters into a model without asking bitsandbytes for its layers, where it has none.

    The question imports bitsandbytes, and with it torch's compiler: two seconds.
    """
    from peft.tuners.lora import model as peft_lora

    if any(type(module).__module__.startswith("bitsandbytes") for module in model.modules()):
        yield
        return
    names = ("is_bnb_available", "is_bnb_4bit_available")
    checks = {name: getattr(peft_lora, name) for name in names if hasattr(peft_lora, name)}
    for name in checks:
        setattr(peft_lora, name, lambda: False)
    try:
        yield
    finally:
        for name, check in checks.items():
            setattr(peft_lora, name, check)
