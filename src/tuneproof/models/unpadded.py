"""An encoder's layers on real tokens alone: no linear layer, norm or dropout touches padding.

In: an encoder, a batch's attention mask. Out: a context in which its forward skips padding.
Knows nothing of: heads, losses, data.

The stack of layers reads [1, N, D], the N real tokens of all rows one after the other; only attention
lays them out as rows again. What goes in and comes out of the stack is padded as ever, with zeros at
padding, so that embeddings and heads see nothing of it and the batch is the same batch.
Source: Zeng et al. 2022, arXiv:2208.08124 (BERT on inputs of variable length).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

NAME = "sdpa_of_real_tokens"
STACKS = {
    # model type: its stack of layers. Only those whose layers take no token's place from the shape of
    # what they read, as rotary or relative positions computed inside a layer would (ESM, RoFormer).
    "albert": "encoder",
    "bert": "encoder",
    "camembert": "encoder",
    "distilbert": "transformer",
    "electra": "encoder",
    "roberta": "encoder",
    "xlm-roberta": "encoder",
}


@dataclass(frozen=True)
class Layout:
    """Where the real tokens stand: `places_N` in the B·T positions of a batch [B, T]."""

    places_N: torch.Tensor
    rows: int
    length: int

    def gathered(self, padded_BTD: torch.Tensor) -> torch.Tensor:
        """[1, N, D] of [B, T, D]."""
        return padded_BTD.flatten(0, 1).index_select(0, self.places_N)[None]

    def padded(self, real_1ND: torch.Tensor) -> torch.Tensor:
        """[B, T, D] of [1, N, D], zero at padding."""
        flat = real_1ND.new_zeros(self.rows * self.length, *real_1ND.shape[2:])
        return flat.index_copy(0, self.places_N, real_1ND[0]).unflatten(0, (self.rows, self.length))


@contextmanager
def real_tokens(base: Any, mask_BT: torch.Tensor) -> Iterator[None]:
    """Forwards of `base`, also within its heads, on the batch with this mask skip padding.

    Done on a CPU (on a GPU, looking where the padding is would wait for the device), for
    encoders of `STACKS` whose attention is scaled dot products. Elsewhere,
    and without padding, nothing changes. Outputs at real tokens are the same to rounding; with
    dropout the masks are other draws of the same distribution.
    """
    kind = getattr(getattr(base, "config", None), "model_type", "")
    stack: Any = getattr(base, STACKS.get(kind, ""), None)
    if not _can(base, stack, mask_BT):
        yield
        return
    places_N = mask_BT.flatten().nonzero()[:, 0]
    if len(places_N) == mask_BT.numel():
        yield
        return
    layout = Layout(places_N, *mask_BT.shape)

    def narrow(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        states, *rest = args if args else (kwargs.pop("hidden_states"),)
        return (layout.gathered(states), *rest), {**kwargs, "layout": layout}

    def widen(_: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        output.last_hidden_state = layout.padded(output.last_hidden_state)
        return output

    hooks = (
        stack.register_forward_pre_hook(narrow, with_kwargs=True),
        stack.register_forward_hook(widen, with_kwargs=True),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _can(base: Any, stack: Any, mask_BT: torch.Tensor) -> bool:
    """Whether padding can be skipped; the first time, attention learns to lay out rows."""
    if type(mask_BT) is not torch.Tensor or mask_BT.device.type != "cpu":
        return False  # another type is a fake tensor, which has no values to look at
    if not isinstance(stack, nn.Module) or not getattr(base, "_supports_attention_backend", False):
        return False
    if base.config._attn_implementation == "sdpa":
        _register()
        base.config._attn_implementation = NAME
    return bool(base.config._attn_implementation == NAME)


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    layout: Layout | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention, over rows again where a layout is given; heads are [·, H, ·, E]."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    wide_q, wide_k, wide_v = (
        layout.padded(one.transpose(1, 2)).transpose(1, 2) for one in (query, key, value)
    )
    found_BTHE, _ = sdpa_attention_forward(module, wide_q, wide_k, wide_v, attention_mask, **options)
    return layout.gathered(found_BTHE), None
