"""A model's layers on real tokens only: no linear layer, norm or dropout computes padding.

In: an encoder or decoder, a batch's attention mask. Out: a context in which its forward skips padding.
Knows nothing of: heads, losses, data.

The layers read [1, N, D], the N real tokens of all rows one after the other; only attention arranges
them in rows again. Inputs and outputs of the stack of layers are padded as usual, with zeros at padding,
so embeddings and heads work unchanged.
Source: Zeng et al. 2022, arXiv:2208.08124 (BERT on inputs of variable length).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tuneproof.families.blocks import blocks_of

NAME = "sdpa_of_real_tokens"
# model type: its stack of layers. Only types whose layers do not derive positions from the shape of their
# input, as rotary or relative positions computed inside a layer would (ESM, RoFormer).
STACKS = dict.fromkeys(("albert", "bert", "camembert", "electra", "roberta", "xlm-roberta"), "encoder")
STACKS["distilbert"] = "transformer"
# model types whose layers read their tokens' rotary embeddings as an argument, and derive nothing else from
# the shape of their input
_ROTARY = (
    "arcee cohere cohere2 ernie4_5 exaone4 gemma gemma3_text glm glm4 gpt_neox granite helium llama "
    "ministral mistral mixtral olmo olmo2 olmo3 olmoe phi phi3 qwen2 qwen3 qwen3_moe seed_oss smollm3 "
    "starcoder2"
)
ROTARY = frozenset(_ROTARY.split())


@dataclass(frozen=True)
class Layout:
    """`positions_N`: indices of the N real tokens among the B·T positions of a batch [B, T]."""

    positions_N: torch.Tensor
    rows: int
    length: int
    _tables: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, repr=False)

    def gather(self, padded_BTD: torch.Tensor) -> torch.Tensor:
        """[1, N, D] from [B, T, D]."""
        return padded_BTD.flatten(0, 1).index_select(0, self.positions_N)[None]

    def pad(self, real_1ND: torch.Tensor) -> torch.Tensor:
        """[B, T, D] from [1, N, D], zero at padding."""
        flat = real_1ND.new_zeros(self.rows * self.length, *real_1ND.shape[2:])
        return flat.index_copy(0, self.positions_N, real_1ND[0]).unflatten(0, (self.rows, self.length))

    def narrow(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A hook before the first layer: it reads real tokens."""
        states, *rest = args if args else (kwargs.pop("hidden_states"),)
        return (self.gather(states), *rest), kwargs

    def inform(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A hook before every layer: it gets the layout, and the rotary embeddings of real tokens."""
        kwargs = {**kwargs, "layout": self}
        if kwargs.get("position_embeddings") is not None:
            kwargs["position_embeddings"] = tuple(map(self._rotary, kwargs["position_embeddings"]))
        return args, kwargs

    def widen(self, _: nn.Module, args: Any, output: Any) -> Any:
        """A hook after the last layer: its states are padded again."""
        if isinstance(output, torch.Tensor):
            return self.pad(output)
        if isinstance(output, tuple):
            return (self.pad(output[0]), *output[1:])
        output.last_hidden_state = self.pad(output.last_hidden_state)
        return output

    def _rotary(self, table_BTE: torch.Tensor) -> torch.Tensor:
        """[1, N, E] from [B or 1, T, E], gathered once for all layers."""
        entry = self._tables.get(id(table_BTE))
        if entry is None:
            entry = (table_BTE, self.gather(table_BTE.expand(self.rows, -1, -1)))
            self._tables[id(table_BTE)] = entry  # with the table, so that no other one gets its id
        return entry[1]


@contextmanager
def skip_padding(base: Any, mask_BT: torch.Tensor) -> Iterator[None]:
    """Let forwards of `base`, also inside a model with a head, skip the padding of the batch with this mask.

    Only on a CPU (a GPU would have to wait to locate the padding), for models of `STACKS` and `ROTARY`
    with scaled dot product attention; otherwise, and without padding, nothing changes. No cache of keys
    and values may be filled before. Outputs at real tokens are the same to rounding, zero at padding; dropout
    draws other masks of the same distribution.
    """
    layers = _layers(base)
    if not layers or not _can_skip(base, mask_BT) or mask_BT.all():
        yield
        return
    layout = Layout(mask_BT.flatten().nonzero()[:, 0], *mask_BT.shape)
    hooks = [
        layers[0].register_forward_pre_hook(layout.narrow, with_kwargs=True),
        layers[-1].register_forward_hook(layout.widen),
        *(layer.register_forward_pre_hook(layout.inform, with_kwargs=True) for layer in layers),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _layers(base: Any) -> tuple[Any, ...]:
    """The stack of an encoder's layers, or each layer of a decoder; none where padding cannot be skipped."""
    kind = getattr(getattr(base, "config", None), "model_type", "")
    if kind not in ROTARY:
        stack = getattr(base, STACKS.get(kind, ""), None)
        return (stack,) if isinstance(stack, nn.Module) else ()
    layers = blocks_of(base).modules
    if any(layer._compiled_call_impl is not None for layer in layers):  # hooks would be compiled, too
        return ()
    if getattr(base.config, "output_router_logits", False):  # a loss of its own is computed from all tokens
        return ()
    recomputes = base.training and getattr(layers[0], "gradient_checkpointing", False)
    # in older versions of transformers a recomputed layer calls its hooks again, outside of the context
    return () if recomputes and type(layers[0]).__call__ is not nn.Module.__call__ else layers


def _can_skip(base: Any, mask_BT: torch.Tensor) -> bool:
    """Whether padding can be skipped; switches the model to our attention."""
    if type(mask_BT) is not torch.Tensor or mask_BT.device.type != "cpu" or mask_BT.dim() != 2:
        return False  # a fake tensor has no values
    if not getattr(base, "_supports_attention_backend", False):
        return False
    if not uses_sdpa(base.config):
        return False
    _register()
    base.config._attn_implementation = NAME
    return True


def uses_sdpa(config: Any) -> bool:
    """Whether the model's attention is torch's scaled dot product, with or without padding."""
    return config._attn_implementation in ("sdpa", NAME)


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
