"""A model's frozen lower layers: run without dropout and gradients, or skipped where states are cached.

In: a model whose last layers train, cached states. Out: the same model, whose forwards skip frozen layers.
Knows nothing of: losses, data, why the layers are frozen.

Every module stays where it is, so that masks, positions, layer indices and names of weights are the model's
own. With cached states a frozen layer passes its input on, and the highest one returns the cached states.
The frozen layers run again where a row is not cached, or a key-value cache is filled.

Shapes: B rows, T positions, N real tokens of all rows, D width.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tuneproof.data.tokens import pad_batch
from tuneproof.families.blocks import blocks_of
from tuneproof.families.family import Family
from tuneproof.models.activation_cache import ActivationCache, TokenRow
from tuneproof.models.device import to_device
from tuneproof.models.heads import base_states, inner_model, model_inputs
from tuneproof.models.oom import AdaptiveBatchSize, run_in_batches
from tuneproof.models.unpadded import skip_padding


class _Stop(Exception):  # noqa: N818 - nothing is wrong
    """Carries the output of the highest frozen layer out of a forward."""

    def __init__(self, output: Any) -> None:
        self.output = output


@contextmanager
def whole_forwards() -> Iterator[None]:
    """Frozen layers run although their states are cached."""
    FrozenLayers.reads_cache = False
    try:
        yield
    finally:
        FrozenLayers.reads_cache = True


class FrozenLayers:
    """The frozen part of a model, whose last `last` layers train; in force once constructed.

    Dropout is off in the base outside of the last layers, whatever mode the model is in, and no graph
    is built below them. cache: the states that replace the frozen layers; None: they run.
    """

    reads_cache = True

    def __init__(self, model: Any, last: int) -> None:
        inner = inner_model(model)
        self.base = inner.base_model
        blocks = blocks_of(self.base).modules
        self.layer_count, self.frozen_count = len(blocks), len(blocks) - last
        self.cache: ActivationCache | None = None
        self._stops = False  # whether forwards stop after the highest frozen layer
        self._batch: _Batch | None = None  # the cached states of the current forward
        self._tuple_size = 0  # of a layer's output; 0 where it is no tuple
        self._signature = inspect.signature(self.base.forward)
        trained = {part for block in blocks[self.frozen_count :] for part in block.modules()}
        self._without_dropout = [
            part for part in self.base.modules() if part not in trained and trained.isdisjoint(part.modules())
        ]
        for index, block in enumerate(blocks[: self.frozen_count]):
            block.forward = self._wrap(block.forward, index == self.frozen_count - 1)
        self.base.register_forward_pre_hook(self._begin, with_kwargs=True)
        self.base.register_forward_hook(self._end, always_call=True)

    def _wrap(self, original: Callable[..., Any], highest: bool) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._batch is None:
                with torch.no_grad():
                    output = original(*args, **kwargs)
                if highest and self._stops:
                    raise _Stop(output)
                return output
            states = args[0] if args else kwargs["hidden_states"]
            if highest:
                states = self._batch.shaped_like(states)
            return (states, *[None] * (self._tuple_size - 1)) if self._tuple_size else states

        return forward

    def _begin(self, base: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for part in self._without_dropout:
            part.training = False
        self._batch = None
        if self.cache is None or self._stops or not self.reads_cache:
            return
        inputs = self._signature.bind_partial(*args, **kwargs).arguments
        inputs |= inputs.pop("kwargs", {})
        ids_BT, mask_BT = inputs.get("input_ids"), inputs.get("attention_mask")
        fills_cache = inputs.get("past_key_values") is not None or inputs.get("use_cache")
        if fills_cache or ids_BT is None or mask_BT is None:
            return
        rows = _token_rows(ids_BT, mask_BT, inputs.get("token_type_ids"))
        states_ND = self.cache.read([row.digest for row in rows])
        if states_ND is not None:
            self._batch = _Batch(states_ND.to(ids_BT.device), mask_BT)

    def _end(self, base: Any, args: Any, output: Any) -> None:
        self._batch = None

    def compute_states(
        self, family: Family, rows: Sequence[TokenRow], pad_id: int, device: Any
    ) -> torch.Tensor | None:
        """The highest frozen layer's states [N, D] on the CPU; None where it returns more than states."""
        batch = pad_batch([row.ids for row in rows], pad_id, "right")
        if rows[0].types is not None:
            types_BT = torch.zeros_like(batch["input_ids"])
            for index, row in enumerate(rows):
                types_BT[index, : len(row)] = torch.as_tensor(row.types)
            batch["token_type_ids"] = types_BT
        mask_BT = batch["attention_mask"]
        output = self._run(family, to_device(batch, device))
        if isinstance(output, tuple):
            if any(isinstance(value, torch.Tensor) for value in output[1:]):
                return None
            self._tuple_size, output = len(output), output[0]
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
                    with skip_padding(self.base, batch["attention_mask"]):
                        inputs = model_inputs(self.base, batch)
                        inputs.pop("position_ids", None)  # right-padded: an encoder's defaults are right
                        self.base(**inputs)
        except _Stop as stop:
            return stop.output
        finally:
            self._stops = False
        raise AssertionError("a forward reaches the highest frozen layer")

    def compute_batches(
        self,
        family: Family,
        rows: Sequence[TokenRow],
        pad_id: int,
        adaptive_size: AdaptiveBatchSize,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> Iterator[tuple[Any, torch.Tensor]]:
        """(indices of some rows, their states [N, D]) for every batch, longest rows first."""
        self.base.eval()

        def work(indices: Any) -> torch.Tensor:
            with autocast():
                states_ND = self.compute_states(family, [rows[i] for i in indices], pad_id, device)
            assert states_ND is not None  # the caller checked one row
            return states_ND

        return run_in_batches([len(row) for row in rows], adaptive_size, work)


class _Batch:
    """The cached states of a batch's rows, in the layout of the model's hidden states."""

    def __init__(self, states_ND: torch.Tensor, mask_BT: torch.Tensor) -> None:
        self.states_ND, self.mask_BT = states_ND, mask_BT

    def shaped_like(self, states: torch.Tensor) -> torch.Tensor:
        """[1, N, D] where padding is skipped, else [B, T, D], zero at padding."""
        if states.shape[:2] != self.mask_BT.shape:
            return self.states_ND[None]
        if len(self.states_ND) == self.mask_BT.numel():
            return self.states_ND.view(*self.mask_BT.shape, -1)
        padded_BTD = self.states_ND.new_zeros(*self.mask_BT.shape, self.states_ND.shape[-1])
        padded_BTD[self.mask_BT.bool()] = self.states_ND
        return padded_BTD


def _token_rows(ids_BT: Any, mask_BT: Any, types_BT: Any) -> list[TokenRow]:
    """The real tokens of every row, and their types if there are any, on the host."""
    ids, real = ids_BT.cpu().numpy(), mask_BT.cpu().numpy().astype(bool)
    types = [None] * len(ids) if types_BT is None else types_BT.cpu().numpy()
    return [
        TokenRow(row[is_real], None if row_types is None else row_types[is_real])
        for row, is_real, row_types in zip(ids, real, types, strict=True)
    ]
