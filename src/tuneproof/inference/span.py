"""Answers marked in windows: the best spans of each, and how sure the head is that there is none.

In: a model with a span head, windows. Out: candidates per window; one answer per question.
Knows nothing of: the golds' texts, metrics, thresholds.

Shapes: B windows of a batch, T tokens, W windows, N questions.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tuneproof.data.windows import EncodedWindows, Window, collate_windows, span_text
from tuneproof.inference.finite import refuse_nonfinite_items
from tuneproof.models.device import float64_array, to_device
from tuneproof.models.heads import inner_model, model_inputs
from tuneproof.models.oom import AdaptiveBatchSize, run_in_batches
from tuneproof.models.unpadded import skip_padding
from tuneproof.tasks.task import Example

TOP_POSITIONS = 20  # best starts and best ends of a window that are combined
N_BEST = 10  # answers kept per window, and per question
NEVER = -1e9  # the logit of a position where no answer may start or end
NO_SPAN_SCORE = -1e8  # the score of an answer if no span is possible


@dataclass(frozen=True)
class Candidate:
    """A span of context tokens with the sum of its start and end logits."""

    first: int
    last: int
    score: float


@dataclass(frozen=True)
class WindowSpans:
    """For each of W windows: the score of the null position, the best candidates, and the loss."""

    null_W: NDArray[np.float64]
    loss_W: NDArray[np.float64]
    best: list[list[Candidate]] = field(default_factory=list)


def span_logits(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits [B, T, 2] of an answer's start and end; NEVER where it may not start or end."""
    names = ("input_ids", "attention_mask", "token_type_ids")  # right-padded, so positions are implied
    inputs = {name: batch[name] for name in names if name in batch}
    inner = inner_model(model)
    with skip_padding(inner.base_model, batch["attention_mask"]):
        output = model(**model_inputs(inner, inputs))
    logits_BT2 = torch.stack([output.start_logits, output.end_logits], dim=-1).float()
    return logits_BT2.masked_fill(~batch["allowed"][..., None], NEVER)


def span_losses(logits_BT2: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean cross-entropy [B] (nats) of the gold's start and end; of the null position without a gold."""
    start_B = nn.functional.cross_entropy(logits_BT2[..., 0], batch["start"], reduction="none")
    end_B = nn.functional.cross_entropy(logits_BT2[..., 1], batch["end"], reduction="none")
    return (start_B + end_B) / 2


def find_spans(
    model: nn.Module,
    windows: Sequence[Window],
    pad_id: int,
    adaptive_size: AdaptiveBatchSize,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    answer_tokens: int,
) -> WindowSpans:
    """The best spans of every window, its null score and its loss.

    Raises: NonfiniteItemsError where a logit of a question's window is not finite.
    """
    model.eval()
    size = len(windows)
    spans = WindowSpans(np.zeros(size), np.zeros(size), [[] for _ in range(size)])

    def work(indices: Any) -> dict[str, NDArray[Any]]:
        part = [windows[index] for index in indices]
        batch = to_device(collate_windows(part, pad_id), device)
        with torch.inference_mode(), autocast():
            logits_BT2 = span_logits(model, batch)
            losses_B = span_losses(logits_BT2, batch)
        rows_B = torch.arange(len(part), device=device)
        best = best_spans(logits_BT2, part, answer_tokens)
        ends = [(row, c.first, c.last) for row, candidates in enumerate(best) for c in candidates]
        scores = [c.score for candidates in best for c in candidates]
        return {
            "loss_B": float64_array(losses_B),
            "null_B": float64_array(logits_BT2[rows_B, batch["null"]].sum(-1)),
            "spans_K3": np.array(ends, dtype=np.int64).reshape(-1, 3),
            "scores_K": np.array(scores, dtype=np.float64),
        }

    for indices, arrays in run_in_batches([len(window.ids) for window in windows], adaptive_size, work):
        spans.loss_W[indices], spans.null_W[indices] = arrays["loss_B"], arrays["null_B"]
        pairs = zip(arrays["spans_K3"].tolist(), arrays["scores_K"].tolist(), strict=True)
        for (row, first, last), score in pairs:
            spans.best[indices[row]].append(Candidate(first, last, score))
    bad_W = ~(np.isfinite(spans.loss_W) & np.isfinite(spans.null_W))  # the loss sums over all logits
    refuse_nonfinite_items([windows[index].item for index in np.flatnonzero(bad_W).tolist()])
    return spans


def best_spans(
    logits_BT2: torch.Tensor, windows: Sequence[Window], answer_tokens: int
) -> list[list[Candidate]]:
    """The N_BEST spans of at most `answer_tokens` tokens of each window, from its TOP_POSITIONS best."""
    rows_B = torch.arange(len(windows), device=logits_BT2.device)
    null_B = torch.tensor([window.null_position for window in windows], device=logits_BT2.device)
    logits_BT2 = logits_BT2.clone()
    logits_BT2[rows_B, null_B] = NEVER
    count = min(TOP_POSITIONS, logits_BT2.shape[1])
    top_BK2, positions_BK2 = logits_BT2.topk(count, dim=1)
    scores_BKK = top_BK2[:, :, None, 0] + top_BK2[:, None, :, 1]
    length_BKK = positions_BK2[:, None, :, 1] - positions_BK2[:, :, None, 0] + 1
    possible_BKK = (length_BKK >= 1) & (length_BKK <= answer_tokens) & (scores_BKK > NEVER / 2)
    flat_BK = scores_BKK.masked_fill(~possible_BKK, 2 * NEVER).flatten(1)
    best_BK, cell_BK = flat_BK.topk(min(N_BEST, flat_BK.shape[1]), dim=1)
    start_BK, end_BK = positions_BK2[..., 0].cpu().numpy(), positions_BK2[..., 1].cpu().numpy()
    spans = []
    for row, window in enumerate(windows):
        shift = window.first_token - window.context_start
        cells = zip(best_BK[row].tolist(), cell_BK[row].tolist(), strict=True)
        ends = ((start_BK[row, cell // count], end_BK[row, cell % count], score) for score, cell in cells)
        possible = [(int(first) + shift, int(last) + shift, s) for first, last, s in ends if s > NEVER / 2]
        spans.append([Candidate(*span) for span in possible])
    return spans


@dataclass(frozen=True)
class SpanAnswers:
    """One answer per question. `null_N`: the null score minus the best answer's, which is `score_N`."""

    answers: list[str]
    null_N: NDArray[np.float64]
    score_N: NDArray[np.float64]
    nbest: list[list[dict[str, Any]]]


def select_answers(spans: WindowSpans, windows: EncodedWindows, examples: Sequence[Example]) -> SpanAnswers:
    """The best span over all windows of a question, against the lowest null score of any of them.

    Source: Devlin et al. 2019, arXiv:1810.04805, section 4.3; the lowest null score, as a window
    without the answer should say that it has none, while one with it should not.
    """
    size = len(examples)
    null_N, score_N = np.full(size, np.inf), np.full(size, NO_SPAN_SCORE)
    scores: list[dict[tuple[int, int], float]] = [{} for _ in range(size)]
    for index, window in enumerate(windows.windows):
        null_N[window.item] = min(null_N[window.item], spans.null_W[index])
        item_scores = scores[window.item]
        for candidate in spans.best[index]:
            span = (candidate.first, candidate.last)
            item_scores[span] = max(item_scores.get(span, -np.inf), candidate.score)
    answers, nbest = [], []
    for item, example in enumerate(examples):
        ranked = sorted(scores[item].items(), key=lambda pair: (-pair[1], pair[0]))
        texts: dict[str, float] = {}
        for (first, last), score in ranked:
            text = span_text(example.required_question, windows.contexts[item], first, last)
            if text:
                texts.setdefault(text, score)
        best = list(texts.items())[:N_BEST]
        nbest.append([{"text": text, "score": round(score, 4)} for text, score in best])
        answers.append(best[0][0] if best else "")
        if best:
            score_N[item] = best[0][1]
    return SpanAnswers(answers, null_N - score_N, score_N, nbest)
