"""A model's frozen lower layers: run without dropout and gradients, or left out where states are kept.

In: a model whose last layers train, kept states. Out: the same model, whose forwards skip its trunk.
Knows nothing of: losses, data, why the layers are frozen.

Every module stays in its place, so that masks, positions, the numbers of layers and the names of weights
are the model's own: a lower layer hands on what it gets, and the highest of them gives the kept states.
The model runs its trunk again wherever a row is not known, or a key-value cache is filled.

Shapes: B rows, T positions, N real tokens of all rows, D width.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from tuneproof.data.tokens import pad_batch
from tuneproof.families.blocks import blocks_of
from tuneproof.families.family import Family
from tuneproof.models.activation_cache import KeptStates, Row, digest_of
from tuneproof.models.device import on_device
from tuneproof.models.heads import base_states, inner_model, model_inputs
from tuneproof.models.oom import AtOnce, in_batches
from tuneproof.models.unpadded import real_tokens


class _Reached(Exception):  # noqa: N818 - nothing is wrong
    """What the trunk gives."""

    def __init__(self, output: Any) -> None:
        self.output = output


class Trunk:
    """The frozen part of a model, whose last `last` layers train; made, it is in force.

    Dropout is off in the base outside of the last layers, whatever mode the model is in, and no graph
    is built below them.
    """

    def __init__(self, model: Any, last: int) -> None:
        inner = inner_model(model)
        self.base = inner.base_model
        blocks = blocks_of(self.base).modules
        self.layers, self.frozen = len(blocks), len(blocks) - last
        self.kept: KeptStates | None = None
        self._stops = False
        self._now: _Batch | None = None
        self._form = 0  # how many values a layer returns, where it returns a tuple
        self._signature = inspect.signature(self.base.forward)
        upper = {part for block in blocks[self.frozen :] for part in block.modules()}
        self._still = [
            part for part in self.base.modules() if part not in upper and upper.isdisjoint(part.modules())
        ]
        for place, block in enumerate(blocks[: self.frozen]):
            block.forward = self._standing_in(block.forward, place == self.frozen - 1)
        self.base.register_forward_pre_hook(self._begin, with_kwargs=True)
        self.base.register_forward_hook(self._end, always_call=True)

    def _standing_in(self, real: Callable[..., Any], highest: bool) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._now is None:
                with torch.no_grad():
                    output = real(*args, **kwargs)
                if highest and self._stops:
                    raise _Reached(output)
                return output
            states = args[0] if args else kwargs["hidden_states"]
            if highest:
                states = self._now.like(states)
            return (states, *[None] * (self._form - 1)) if self._form else states

        return forward

    def _begin(self, base: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for part in self._still:
            part.training = False
        self._now = None
        if self.kept is None or self._stops:
            return
        given = self._signature.bind_partial(*args, **kwargs).arguments
        given |= given.pop("kwargs", {})
        if given.get("past_key_values") is not None or given.get("use_cache"):
            return
        ids_BT, mask_BT = given.get("input_ids"), given.get("attention_mask")
        if ids_BT is None or mask_BT is None:
            return
        rows = _rows(ids_BT, mask_BT, given.get("token_type_ids"))
        states_ND = self.kept.read([digest_of(*row) for row in rows])
        if states_ND is not None:
            self._now = _Batch(states_ND.to(ids_BT.device), mask_BT)

    def _end(self, base: Any, args: Any, output: Any) -> None:
        self._now = None

    def states(self, family: Family, rows: Sequence[Row], pad_id: int, device: Any) -> torch.Tensor | None:
        """States [N, D] that the trunk gives, one row after the other, on the CPU.

        None where its highest layer gives more than states, which cannot be kept.
        """
        batch = pad_batch([row.ids for row in rows], pad_id, "right")
        if rows[0].types is not None:
            types_BT = torch.zeros_like(batch["input_ids"])
            for place, row in enumerate(rows):
                types_BT[place, : len(row)] = torch.as_tensor(row.types)
            batch["token_type_ids"] = types_BT
        mask_BT = batch["attention_mask"]
        output = self._run(family, on_device(batch, device))
        if isinstance(output, tuple):
            if any(isinstance(value, torch.Tensor) for value in output[1:]):
                return None
            self._form, output = len(output), output[0]
        if output.shape[:2] == mask_BT.shape:
            output = output[mask_BT.to(device).bool()]
        return output.reshape(-1, output.shape[-1]).cpu()

    def _run(self, family: Family, batch: dict[str, torch.Tensor]) -> Any:
        self._stops = True
        try:
            with torch.inference_mode():
                if "token_type_ids" not in batch:
                    base_states(self.base, family, batch)
                else:
                    with real_tokens(self.base, batch["attention_mask"]):
                        taken = model_inputs(self.base, batch)
                        taken.pop("position_ids", None)  # right-padded: an encoder counts itself
                        self.base(**taken)
        except _Reached as reached:
            return reached.output
        finally:
            self._stops = False
        raise AssertionError("a forward that passes all layers reaches the trunk's highest")

    def read(
        self,
        family: Family,
        rows: Sequence[Row],
        pad_id: int,
        at_once: AtOnce,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> Iterator[tuple[Any, torch.Tensor]]:
        """(positions of some rows, their states [N, D]) for every batch, longest rows first."""
        self.base.eval()

        def work(chosen: Any) -> torch.Tensor:
            with autocast():
                states_ND = self.states(family, [rows[i] for i in chosen], pad_id, device)
            assert states_ND is not None  # one row was tried before
            return states_ND

        yield from in_batches([len(row) for row in rows], at_once, work)


class _Batch:
    """The kept states of a batch's rows, as its first trained layer reads them."""

    def __init__(self, states_ND: torch.Tensor, mask_BT: torch.Tensor) -> None:
        self.states_ND, self.mask_BT = states_ND, mask_BT

    def like(self, states: torch.Tensor) -> torch.Tensor:
        """[1, N, D] where padding is skipped, else [B, T, D], zero at padding."""
        if states.shape[:2] != self.mask_BT.shape:
            return self.states_ND[None]
        if len(self.states_ND) == self.mask_BT.numel():
            return self.states_ND.view(*self.mask_BT.shape, -1)
        padded_BTD = self.states_ND.new_zeros(*self.mask_BT.shape, self.states_ND.shape[-1])
        padded_BTD[self.mask_BT.bool()] = self.states_ND
        return padded_BTD


def _rows(ids_BT: Any, mask_BT: Any, types_BT: Any) -> list[tuple[Any, Any]]:
    """The real tokens of every row, and their types where there are any, on the host."""
    ids, real = ids_BT.cpu().numpy(), mask_BT.cpu().numpy().astype(bool)
    types = [None] * len(ids) if types_BT is None else types_BT.cpu().numpy()
    return [
        (row[there], None if kinds is None else kinds[there])
        for row, there, kinds in zip(ids, real, types, strict=True)
    ]
