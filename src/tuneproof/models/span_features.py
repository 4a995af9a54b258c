"""The states of a frozen base at the places where an answer may begin or end, kept as float16.

In: a base model and windows. Out: one array of states, and where each window's begin in it.
Knows nothing of: heads, golds, tasks.

Shapes: W windows, P places over all windows (context tokens and null slots), D width of the model.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tuneproof.data.windows import Window, collate_windows
from tuneproof.families.family import Family
from tuneproof.models.device import on_device
from tuneproof.models.heads import inner_model, model_inputs
from tuneproof.models.oom import AtOnce, in_batches
from tuneproof.models.unpadded import real_tokens


@dataclass(frozen=True)
class TokenStates:
    """`states_PD` of all windows, one after the other; window w has `start_W[w]` to `start_W[w + 1]`.

    Its places are the null slot first, then its context's tokens in their order.
    """

    states_PD: NDArray[np.float16]
    start_W: NDArray[np.int64]

    @classmethod
    def of(cls, windows: Sequence[Window], width: int) -> "TokenStates":
        """Room for the windows' states."""
        sizes = [1 + window.size for window in windows]
        start_W = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return cls(np.zeros((int(start_W[-1]), width), dtype=np.float16), start_W)


def places_of(window: Window) -> NDArray[np.int64]:
    """The places in the row that the window's states are of, in their order."""
    return np.concatenate([[window.null], window.at + np.arange(window.size)]).astype(np.int64)


def gold_places(window: Window) -> tuple[int, int]:
    """Where the gold begins and ends among the window's places; 0 is the null slot."""
    if window.gold[0] == window.null:
        return (0, 0)
    return (window.gold[0] - window.at + 1, window.gold[1] - window.at + 1)


def read_states(
    model: nn.Module,
    family: Family,
    windows: Sequence[Window],
    pad_id: int,
    at_once: AtOnce,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    into: TokenStates,
) -> Iterator[int]:
    """Fill `into`; yields the windows done after every batch."""
    model.eval()
    base = inner_model(model).base_model
    names = ("input_ids", "attention_mask", "token_type_ids")  # right-padded: positions count themselves

    def work(chosen: Any) -> NDArray[np.float16]:
        part = [windows[place] for place in chosen]
        whole = collate_windows(part, pad_id)
        batch = on_device({name: whole[name] for name in names if name in whole}, device)
        skipping = real_tokens(base, batch["attention_mask"])
        with torch.inference_mode(), autocast(), skipping:
            hidden_BTD = base(**model_inputs(base, batch))[0]
        states_BTD = hidden_BTD.to(torch.float16).cpu().numpy()
        return np.concatenate([states_BTD[row, places_of(w)] for row, w in enumerate(part)])

    for chosen, states_PD in in_batches([len(window.ids) for window in windows], at_once, work):
        at = 0
        for place in chosen:
            start, end = into.start_W[place], into.start_W[place + 1]
            into.states_PD[start:end] = states_PD[at : at + end - start]
            at += end - start
        yield len(chosen)
