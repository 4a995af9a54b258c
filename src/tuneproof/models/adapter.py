"""An arm's adapter, loaded onto its base once every tensor of it was checked.

In: a base, the same without weights, an adapter's folder. Out: the base with the adapter.
Knows nothing of: tasks, methods, training.

peft leaves a tensor that the file does not hold as it was drawn at random, and says nothing.
"""

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from tuneproof.errors import ModelError
from tuneproof.methods.without_bitsandbytes import adapters_without_bitsandbytes
from tuneproof.models.adapter_config import ADAPTER_CONFIG, FOREIGN, OWN, Writer, read_adapter_config
from tuneproof.models.quiet import quiet

ADAPTER_WEIGHTS = "adapter_model.safetensors"


def load_adapter(model: Any, folder: Path, base_on_meta: Any) -> Any:
    """The model with the folder's adapter, in eval mode. Raises: as `check_adapter`."""
    check_adapter(folder, base_on_meta)
    with quiet(), adapters_without_bitsandbytes(model):
        from peft import PeftModel

        from tuneproof.methods.lora_linear import fuse_updates

        adapted = PeftModel.from_pretrained(model, str(folder), use_safetensors=True).eval()
        fuse_updates(adapted)  # it predicts by the same operations as when it was trained
        return adapted


def load_foreign_adapter(model: Any, folder: Path, base_on_meta: Any, merge: bool) -> Any:
    """The model with an adapter of another program, in eval mode. Raises: as `check_adapter`."""
    check_adapter(folder, base_on_meta, FOREIGN)
    with quiet(), adapters_without_bitsandbytes(model):
        from peft import PeftModel

        adapted: Any = PeftModel.from_pretrained(model, str(folder), use_safetensors=True).eval()
        return adapted.merge_and_unload().eval() if merge else adapted


def check_adapter(folder: Path, base_on_meta: Any, writer: Writer = OWN) -> None:
    """Check the adapter's files against each other and the base, which is changed.

    Raises: ModelError, naming file and key or tensor, where a configuration's value is not as the writer
    writes it, or a tensor is missing, unexpected, of another shape, or not finite.
    """
    path = folder / ADAPTER_WEIGHTS
    if not path.is_file():
        raise ModelError(str(folder), f"contains no {ADAPTER_WEIGHTS}.", do=writer.do)
    shapes = _expected_shapes(folder, base_on_meta, writer)
    for problem in _tensor_problems(path, shapes):
        raise ModelError(str(path), problem, do=writer.do)


def _expected_shapes(folder: Path, base_on_meta: Any, writer: Writer) -> dict[str, tuple[int, ...]]:
    """The tensors that the configuration describes, by their names in the file."""
    from peft import get_peft_model, get_peft_model_state_dict

    config = copy.deepcopy(read_adapter_config(folder, writer))
    config.base_model_name_or_path = None  # peft would warn of another name
    if hasattr(config, "init_lora_weights"):
        config.init_lora_weights = True  # PiSSA would take weights apart, which are not there
    try:
        # sizes that no file holds take no memory
        with quiet(), torch.device("meta"), adapters_without_bitsandbytes(base_on_meta):
            adapted = get_peft_model(base_on_meta, config)
            tensors = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")[:300]
        problem = f"describes no adapter of {type(base_on_meta).__name__}: {reason}."
        raise ModelError(str(folder / ADAPTER_CONFIG), problem, do=writer.do) from None
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _tensor_problems(path: Path, shapes: dict[str, tuple[int, ...]]) -> Iterable[str]:
    """What is wrong with the file's tensors, in sentences."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            names = set(file.keys())
            if missing := sorted(shapes.keys() - names):
                yield f"{len(missing)} of the adapter's tensors are missing, {missing[0]} first."
            if unexpected := sorted(names - shapes.keys()):
                yield (
                    f"{len(unexpected)} of its tensors are none of the adapter's that {ADAPTER_CONFIG} "
                    f"describes, {unexpected[0]} first."
                )
            for name, shape in sorted(shapes.items()):
                stored = tuple(file.get_slice(name).get_shape())
                if stored != shape:
                    yield f"{name} has the shape {list(stored)}; {ADAPTER_CONFIG} describes {list(shape)}."
            for name in sorted(shapes):
                tensor = file.get_tensor(name)
                if not tensor.is_floating_point():
                    yield f"{name} holds {tensor.dtype}, not floating-point numbers."
                if not tensor.isfinite().all():
                    yield f"{name} holds values that are not finite."
    except (OSError, SafetensorError) as error:
        yield f"cannot be read: {error}."
