"""Answers marked in windows: the best spans of each, and how sure the head is that there is none.

In: a model with a span head, windows. Out: candidates a window; one answer a question.
Knows nothing of: golds' texts, metrics, thresholds.

Shapes: B windows of a batch, T tokens, W windows, N questions.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tuneproof.data.windows import Window, Windows, collate_windows, span_text
from tuneproof.models.device import on_device
from tuneproof.models.heads import inner_model, model_inputs
from tuneproof.models.oom import AtOnce, in_batches
from tuneproof.models.unpadded import real_tokens
from tuneproof.tasks.task import Example

ENDS = 20  # best starts and best ends of a window that are joined
N_BEST = 10  # answers that are kept of a window, and of a question
NEVER = -1e9  # the logit of a place where no answer may begin or end
UNANSWERED = -1e8  # the score of an answer where no span was possible


@dataclass(frozen=True)
class Candidate:
    """A span of context tokens with the sum of its start and end logits."""

    first: int
    last: int
    score: float


@dataclass(frozen=True)
class SpansFound:
    """Of W windows: the null slot's score, the best candidates, and the loss where golds count."""

    null_W: NDArray[np.float64]
    loss_W: NDArray[np.float64]
    best: list[list[Candidate]] = field(default_factory=list)

    @classmethod
    def of(cls, windows: Sequence[Window]) -> "SpansFound":
        """Nothing is found yet."""
        size = len(windows)
        return cls(np.zeros(size), np.zeros(size), [[] for _ in range(size)])


def span_logits(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits [B, T, 2] of where an answer begins and ends; NEVER where it may not."""
    names = ("input_ids", "attention_mask", "token_type_ids")  # right-padded: positions count themselves
    inputs = {name: batch[name] for name in names if name in batch}
    inner = inner_model(model)
    with real_tokens(inner.base_model, batch["attention_mask"]):
        out = model(**model_inputs(inner, inputs))
    logits_BT2 = torch.stack([out.start_logits, out.end_logits], dim=-1).float()
    return logits_BT2.masked_fill(~batch["allowed"][..., None], NEVER)


def span_losses(logits_BT2: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean cross-entropy [B] (nats) of the gold's begin and end, the null slot where it has none."""
    start_B = nn.functional.cross_entropy(logits_BT2[..., 0], batch["start"], reduction="none")
    end_B = nn.functional.cross_entropy(logits_BT2[..., 1], batch["end"], reduction="none")
    return (start_B + end_B) / 2


def find_spans(
    model: nn.Module,
    windows: Sequence[Window],
    pad_id: int,
    at_once: AtOnce,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    answer_tokens: int,
    into: SpansFound,
) -> Iterator[int]:
    """Fill `into`; yields windows done after every batch, the longest first."""
    model.eval()

    def work(chosen: Any) -> dict[str, NDArray[Any]]:
        part = [windows[place] for place in chosen]
        batch = on_device(collate_windows(part, pad_id), device)
        with torch.inference_mode(), autocast():
            logits_BT2 = span_logits(model, batch)
            losses_B = span_losses(logits_BT2, batch)
        rows_B = torch.arange(len(part), device=device)
        best = best_spans(logits_BT2, part, answer_tokens)
        flat = [(row, c.first, c.last) for row, found in enumerate(best) for c in found]
        return {
            "loss_B": losses_B.double().cpu().numpy(),
            "null_B": logits_BT2[rows_B, batch["null"]].sum(-1).double().cpu().numpy(),
            "spans_K3": np.array(flat, dtype=np.int64).reshape(-1, 3),
            "scores_K": np.array([c.score for found in best for c in found], dtype=np.float64),
        }

    lengths = [len(window.ids) for window in windows]
    for chosen, found in in_batches(lengths, at_once, work):
        into.loss_W[chosen], into.null_W[chosen] = found["loss_B"], found["null_B"]
        for place in chosen:
            into.best[place] = []
        spans, scores = found["spans_K3"].tolist(), found["scores_K"].tolist()
        for (row, first, last), score in zip(spans, scores, strict=True):
            into.best[chosen[row]].append(Candidate(first, last, score))
        yield len(chosen)


def best_spans(
    logits_BT2: torch.Tensor, windows: Sequence[Window], answer_tokens: int
) -> list[list[Candidate]]:
    """The N_BEST spans of at most `answer_tokens` tokens of each window, the best first.

    The null slot is no span. Spans are joined from the ENDS best begins and ends.
    """
    places_B = torch.arange(len(windows), device=logits_BT2.device)
    null_B = torch.tensor([window.null for window in windows], device=logits_BT2.device)
    logits_BT2 = logits_BT2.clone()
    logits_BT2[places_B, null_B] = NEVER
    keep = min(ENDS, logits_BT2.shape[1])
    top, at = logits_BT2.topk(keep, dim=1)
    scores_BKK = top[:, :, None, 0] + top[:, None, :, 1]
    length_BKK = at[:, None, :, 1] - at[:, :, None, 0] + 1
    possible_BKK = (length_BKK >= 1) & (length_BKK <= answer_tokens) & (scores_BKK > NEVER / 2)
    flat_BK = scores_BKK.masked_fill(~possible_BKK, 2 * NEVER).flatten(1)
    best_BK, cell_BK = flat_BK.topk(min(N_BEST, flat_BK.shape[1]), dim=1)
    begin_B, end_B = at[..., 0].cpu().numpy(), at[..., 1].cpu().numpy()
    found = []
    for row, window in enumerate(windows):
        move = window.first - window.at
        cells = zip(best_BK[row].tolist(), cell_BK[row].tolist(), strict=True)
        found.append(
            [
                Candidate(int(begin_B[row, cell // keep]) + move, int(end_B[row, cell % keep]) + move, score)
                for score, cell in cells
                if score > NEVER / 2
            ]
        )
    return found


@dataclass(frozen=True)
class SpanAnswers:
    """One answer a question. `null_N` is the null score less the best answer's, `score_N` the latter."""

    answers: list[str]
    null_N: NDArray[np.float64]
    score_N: NDArray[np.float64]
    nbest: list[list[dict[str, Any]]]


def one_answer_each(found: SpansFound, windows: Windows, examples: Sequence[Example]) -> SpanAnswers:
    """The best span over all windows of a question, against the lowest null score of any of them.

    Source: Devlin et al. 2019, arXiv:1810.04805, section 4.3; the lowest null score, as a window
    without the answer should say that it has none, while one with it should not.
    """
    size = len(examples)
    null_N = np.full(size, np.inf)
    spans: list[dict[tuple[int, int], float]] = [{} for _ in range(size)]
    for place, window in enumerate(windows.windows):
        null_N[window.item] = min(null_N[window.item], found.null_W[place])
        for candidate in found.best[place]:
            key = (candidate.first, candidate.last)
            known = spans[window.item].get(key, -np.inf)
            spans[window.item][key] = max(known, candidate.score)
    answers, nbest = [], []
    score_N = np.full(size, UNANSWERED)
    for item, example in enumerate(examples):
        ranked = sorted(spans[item].items(), key=lambda pair: (-pair[1], pair[0]))
        texts: dict[str, float] = {}
        for (first, last), score in ranked:
            text = span_text(example.asked, windows.contexts[item], first, last)
            if text:
                texts.setdefault(text, score)
        best = list(texts.items())[:N_BEST]
        nbest.append([{"text": text, "score": round(score, 4)} for text, score in best])
        answers.append(best[0][0] if best else "")
        if best:
            score_N[item] = best[0][1]
    return SpanAnswers(answers, null_N - score_N, score_N, nbest)
