"""Where a model's blocks are, and which weights their lower part reads.

In: a model or its configuration, a number of blocks. Out: its blocks, names of weights, a shallow shape.
Knows nothing of: methods, data, what trains.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tuneproof.errors import ModelError


@dataclass(frozen=True)
class Blocks:
    """The blocks of a model from the lowest to the highest; `name` is their list's in the model."""

    name: str
    modules: tuple[Any, ...]

    def holds(self, name: str, first: int) -> bool:
        """Whether a module or weight of this name lies in a block from number `first` (0-based) on."""
        rest = name.removeprefix(f"{self.name}.")
        return rest != name and int(rest.split(".")[0]) >= first


def is_embedding(module: Any) -> bool:
    """Whether a module's own weights are embeddings."""
    return "embedding" in type(module).__name__.lower()


def layers_of(config: Any) -> int | None:
    """The number of blocks in a configuration; None where it has none."""
    number = getattr(config.get_text_config(), "num_hidden_layers", None)
    return number if isinstance(number, int) else None


def with_layers(config: Any, layers: int) -> Any:
    """A copy of the configuration with its lowest layers alone."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    total = layers_of(config)
    kinds = getattr(text, "layer_types", None)
    if isinstance(kinds, list) and len(kinds) == total:
        text.layer_types = kinds[:layers]
    text.num_hidden_layers = layers
    return config


def blocks_of(model: Any) -> Blocks:
    """The model's list of blocks: as long as the configuration says, outside of any other list.

    Raises: ModelError where there is none, as where all layers share one block's weights (ALBERT).
    """
    from torch.nn import ModuleList

    layers = layers_of(model.config)
    for name, module in model.named_modules():
        if isinstance(module, ModuleList) and len(module) == layers:
            return Blocks(name, tuple(module))
    problem = f"has no list of its {layers} layers, each with weights of its own."
    raise ModelError(type(model).__name__, problem, do="Write layers: all.")


def weights_below(model: Any, last: int) -> set[str]:
    """Names of the weights that the last `last` blocks' input depends on, or that lie below them.

    Taken from the graph of two tokens' states, so that what lower blocks share with upper ones (a table
    of relative positions) or with the head (tied embeddings) counts as below. The weights must
    require gradients. Where the graph cannot be followed on the meta device, every weight of the base
    outside the last blocks counts as below.

    Raises: ModelError as `blocks_of`.
    """
    blocks = blocks_of(model)
    first = len(blocks.modules) - last
    read_ids = _ids_in_graph_of(model, blocks.modules[first - 1])
    base = {id(parameter) for parameter in model.base_model.parameters()}
    names = set()
    for name, parameter in model.named_parameters():
        in_upper = blocks.holds(name, first)
        in_lower = blocks.holds(name, 0) and not in_upper
        below = id(parameter) in read_ids if read_ids is not None else id(parameter) in base and not in_upper
        if below or in_lower:
            names.add(name)
    return names


class _Reached(Exception):  # noqa: N818 - nothing is wrong
    """Ends a forward pass at a block, with the block's output."""

    def __init__(self, output: Any) -> None:
        self.output = output


def _ids_in_graph_of(model: Any, block: Any) -> set[int] | None:
    """Ids of the parameters that the block's output depends on; None where it cannot be followed."""
    import torch

    def stop(module: Any, inputs: Any, output: Any) -> None:
        raise _Reached(output)

    device = next(model.parameters()).device
    ids = torch.ones(1, 2, dtype=torch.long, device=device)
    hook = block.register_forward_hook(stop)
    try:
        with torch.enable_grad():
            # from ids some models look for padding, which they cannot without weights
            model.base_model(inputs_embeds=model.get_input_embeddings()(ids))
    except _Reached as reached:
        output = reached.output
    except RuntimeError:
        if device.type != "meta":
            raise
        return None
    finally:
        hook.remove()
    return ids_in_graph([output if isinstance(output, torch.Tensor) else output[0]])


def ids_in_graph(outputs: Iterable[Any]) -> set[int]:
    """Ids of the parameters that these tensors depend on, by the graph of their gradients."""
    ids: set[int] = set()
    seen: set[Any] = set()
    waiting = [output.grad_fn for output in outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            ids.add(id(node.variable))
        waiting += [before for before, _ in node.next_functions]
    return ids
