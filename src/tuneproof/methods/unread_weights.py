"""Which weights no output of a model depends on: a contact head, an image tower, a pooler that nothing reads.

In: a model whose weights require gradients. Out: names of weights. Knows nothing of: options, data, losses.
"""

from collections.abc import Iterator
from typing import Any

from tuneproof.families.blocks import ids_in_graph

OUTPUTS = ("logits", "start_logits", "end_logits", "last_hidden_state")


def unread_weights(model: Any) -> tuple[str, ...]:
    """Names of the trainable weights that the outputs for two tokens do not depend on.

    Decided by the graph of the gradients, not by their values: a weight behind a zero is read. An expert
    that is a module of its own is read if its neighbours are, since the router chooses by the tokens.
    Empty where the graph cannot be followed (a router on the meta device).
    """
    read_ids = _read_ids(model)
    if read_ids is None:
        return ()
    trainable = {name: id(p) for name, p in model.named_parameters() if p.requires_grad}
    read_kinds = {_kind(name) for name, identity in trainable.items() if identity in read_ids}
    if not read_kinds:
        return ()
    return tuple(name for name in trainable if _kind(name) not in read_kinds)


def _kind(name: str) -> str:
    """The name without the numbers inside its block: experts of one block share it."""
    first, *rest = name.split(".")
    parts, in_block = [first], False
    for part in rest:
        parts.append("*" if in_block and part.isdigit() else part)
        in_block = in_block or part.isdigit()
    return ".".join(parts)


def _read_ids(model: Any) -> set[int] | None:
    """Ids of the parameters that the outputs depend on; None where no forward pass works."""
    import torch

    was_training = model.training
    model.eval()
    try:
        for inputs in _inputs(model):
            try:
                with torch.enable_grad():
                    outputs = model(**inputs)
            except (RuntimeError, TypeError, ValueError, NotImplementedError):
                continue
            return ids_in_graph(outputs[name] for name in OUTPUTS if outputs.get(name) is not None)
        return None
    finally:
        model.train(was_training)


def _inputs(model: Any) -> Iterator[dict[str, Any]]:
    """Two tokens as ids, as embeddings too, for models that look for padding where there are no values.

    First without a cache, which a model of recurrent layers alone may not have.
    """
    import torch

    table = model.get_input_embeddings()
    ids = torch.ones(1, 2, dtype=torch.long, device=next(model.parameters()).device)
    masked = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    yield {**masked, "use_cache": False}
    yield masked
    yield {"input_ids": ids}
    yield {"inputs_embeds": table(ids)}
