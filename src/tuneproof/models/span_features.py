"""The states of a frozen base at the positions where an answer may begin or end, in float16.

In: a base model and windows. Out: one array of states, and where each window's states start in it.
Knows nothing of: heads, tasks.

Shapes: W windows, P positions over all windows (context tokens and null positions), D width of the model.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tuneproof.data.windows import Window, collate_windows
from tuneproof.families.family import Family
from tuneproof.models.device import to_device
from tuneproof.models.heads import inner_model, model_inputs
from tuneproof.models.oom import AdaptiveBatchSize, run_in_batches
from tuneproof.models.unpadded import skip_padding


@dataclass(frozen=True)
class TokenStates:
    """`states_PD` of all windows, one after the other; window w has `start_W[w]` to `start_W[w + 1]`.

    Within a window the null position comes first, then the context's tokens in their order.
    """

    states_PD: NDArray[np.float16]
    start_W: NDArray[np.int64]

    @classmethod
    def zeros(cls, windows: Sequence[Window], width: int) -> "TokenStates":
        """Arrays of the windows' shapes, filled with zeros."""
        sizes = [1 + window.context_length for window in windows]
        start_W = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return cls(np.zeros((int(start_W[-1]), width), dtype=np.float16), start_W)


def state_positions(window: Window) -> NDArray[np.int64]:
    """The positions in the window's row of its states, in their order."""
    context = window.context_start + np.arange(window.context_length)
    return np.concatenate([[window.null_position], context]).astype(np.int64)


def gold_indices(window: Window) -> tuple[int, int]:
    """Where the gold answer begins and ends among the window's states; 0 is the null position."""
    begin, end = window.gold_positions
    if begin == window.null_position:
        return (0, 0)
    return (begin - window.context_start + 1, end - window.context_start + 1)


def compute_span_states(
    model: nn.Module,
    family: Family,
    windows: Sequence[Window],
    pad_id: int,
    adaptive_size: AdaptiveBatchSize,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    width: int,
) -> TokenStates:
    """The states of every window at the positions where an answer may begin or end."""
    states = TokenStates.zeros(windows, width)
    model.eval()
    base = inner_model(model).base_model
    names = ("input_ids", "attention_mask", "token_type_ids")  # right-padded: default positions are right

    def work(indices: Any) -> NDArray[np.float16]:
        part = [windows[index] for index in indices]
        collated = collate_windows(part, pad_id)
        batch = to_device({name: collated[name] for name in names if name in collated}, device)
        padding_skipped = skip_padding(base, batch["attention_mask"])
        with torch.inference_mode(), autocast(), padding_skipped:
            hidden_BTD = base(**model_inputs(base, batch))[0]
        states_BTD = hidden_BTD.to(torch.float16).cpu().numpy()
        return np.concatenate([states_BTD[row, state_positions(w)] for row, w in enumerate(part)])

    for indices, states_PD in run_in_batches([len(window.ids) for window in windows], adaptive_size, work):
        offset = 0
        for index in indices:
            start, end = states.start_W[index], states.start_W[index + 1]
            states.states_PD[start:end] = states_PD[offset : offset + end - start]
            offset += end - start
    return states
