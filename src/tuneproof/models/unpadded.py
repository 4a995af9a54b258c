"""An encoder's layers on real tokens only: no linear layer, norm or dropout computes padding.

In: an encoder, a batch's attention mask. Out: a context in which its forward skips padding.
Knows nothing of: heads, losses, data.

The layers read [1, N, D], the N real tokens of all rows one after the other; only attention arranges
them in rows again. Inputs and outputs of the stack of layers are padded as usual, with zeros at padding,
so embeddings and heads work unchanged.
Source: Zeng et al. 2022, arXiv:2208.08124 (BERT on inputs of variable length).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

NAME = "sdpa_of_real_tokens"
# model type: its stack of layers. Only types whose layers do not derive positions from the shape of their
# input, as rotary or relative positions computed inside a layer would (ESM, RoFormer).
STACKS = dict.fromkeys(("albert", "bert", "camembert", "electra", "roberta", "xlm-roberta"), "encoder")
STACKS["distilbert"] = "transformer"


@dataclass(frozen=True)
class Layout:
    """`positions_N`: indices of the N real tokens among the B·T positions of a batch [B, T]."""

    positions_N: torch.Tensor
    rows: int
    length: int

    def gather(self, padded_BTD: torch.Tensor) -> torch.Tensor:
        """[1, N, D] from [B, T, D]."""
        return padded_BTD.flatten(0, 1).index_select(0, self.positions_N)[None]

    def pad(self, real_1ND: torch.Tensor) -> torch.Tensor:
        """[B, T, D] from [1, N, D], zero at padding."""
        flat = real_1ND.new_zeros(self.rows * self.length, *real_1ND.shape[2:])
        return flat.index_copy(0, self.positions_N, real_1ND[0]).unflatten(0, (self.rows, self.length))


@contextmanager
def skip_padding(base: Any, mask_BT: torch.Tensor) -> Iterator[None]:
    """Let forwards of `base`, also inside a model with a head, skip the padding of the batch with this mask.

    Only on a CPU (a GPU would have to wait to locate the padding) and for encoders of `STACKS` with
    scaled dot product attention; otherwise, and without padding, nothing changes. Outputs at real
    tokens are the same to rounding; dropout draws other masks of the same distribution.
    """
    kind = getattr(getattr(base, "config", None), "model_type", "")
    stack: Any = getattr(base, STACKS.get(kind, ""), None)
    if not _can_skip(base, stack, mask_BT) or mask_BT.all():
        yield
        return
    positions_N = mask_BT.flatten().nonzero()[:, 0]
    layout = Layout(positions_N, *mask_BT.shape)

    def narrow(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        states, *rest = args if args else (kwargs.pop("hidden_states"),)
        return (layout.gather(states), *rest), {**kwargs, "layout": layout}

    def widen(_: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        output.last_hidden_state = layout.pad(output.last_hidden_state)
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


def _can_skip(base: Any, stack: Any, mask_BT: torch.Tensor) -> bool:
    """Whether padding can be skipped; switches the model to our attention."""
    if type(mask_BT) is not torch.Tensor or mask_BT.device.type != "cpu":
        return False  # a fake tensor has no values
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
    """transformers' attention, in rows again where a layout is given; heads are [·, H, ·, E]."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    query, key, value = (layout.pad(heads.transpose(1, 2)).transpose(1, 2) for heads in (query, key, value))
    output_BTHE, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    return layout.gather(output_BTHE), None
