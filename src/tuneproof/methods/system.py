"""A system made elsewhere, such as a file of predictions or a server: what it gets, and what it replies.

In: nothing. Out: the types that every method of the kind "system" fills in.
Knows nothing of: models, scores, files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.settings import TokenPrices
from tuneproof.tasks.task import Example, Prompt, QuestionPrompt


def ignore_progress(done: int) -> None:
    """Shows nothing."""


def ignore_message(text: str) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class SystemRequest:
    """What a system may see: the items of dev and test, and examples of train; no gold of either.

    folder: of the arm, for what must survive a stop; None where nothing is kept. report: called with the
    number of items that have a reply. message: shows a sentence to the user. prices: of its tokens, in
    `currency`, where the recipe has any. timing_s: seconds to time single items at most. threads: of the CPU,
    where the recipe names them.
    """

    examples: Sequence[Example]
    labels: tuple[str, ...]
    prompt: Prompt | QuestionPrompt
    shots: Sequence[Example] = ()
    folder: Path | None = None
    report: Callable[[int], None] = ignore_progress
    message: Callable[[str], None] = ignore_message
    prices: TokenPrices | None = None
    currency: str = ""
    timing_s: float = 0.0
    threads: int | None = None


@dataclass(frozen=True)
class SystemReplies:
    """A reply an item, in the order of the request.

    texts: the label or the answer as the system wrote it; None: no reply. probabilities_NC: of the labels,
    NaN in a row without any; where a text is "" they decide. null_N: of questions, how sure the system is
    that there is no answer, NaN where it does not say. usage: input_tokens, output_tokens, requests.
    seconds: that the replies took; None where that is not known. single_s: seconds of calls with one item;
    batch_s: of calls with `batch_size` items. notes: sentences that a reader has to know.
    """

    texts: Sequence[str | None]
    probabilities_NC: NDArray[np.float64] | None = None
    null_N: NDArray[np.float64] | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    single_s: Sequence[float] = ()
    batch_s: Sequence[float] = ()
    batch_size: int = 0
    notes: tuple[str, ...] = ()
