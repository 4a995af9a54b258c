"""The training losses of arms, as sums over supervised units.

In: a model, a micro-batch on the device. Out: a loss with its graph.
Knows nothing of: data, optimizers, which weights train.
"""

from typing import Any

import torch

from tuneproof.families.family import Family
from tuneproof.models.heads import class_logits
from tuneproof.models.lm_logits import MAX_FLOAT32_LOGITS, lm_head_logits, log_sum_exp
from tuneproof.train.gradients import LossSum

INPUTS = ("input_ids", "attention_mask", "position_ids")


def head_loss(model: Any, family: Family, part: dict[str, Any]) -> LossSum:
    """Summed cross-entropy of a classification head; an item is one supervised unit.

    part: a padded batch [B, T], `labels` [B], `tokens`, the number of real ones, and where classes have
    weights `weights` [B] with their sum, `weight`.
    """
    logits_BC = class_logits(model, family, {name: part[name] for name in INPUTS})
    if "weights" not in part:
        summed = torch.nn.functional.cross_entropy(logits_BC.float(), part["labels"], reduction="sum")
        return LossSum(summed, len(part["labels"]), part["tokens"])
    losses_B = torch.nn.functional.cross_entropy(logits_BC.float(), part["labels"], reduction="none")
    return LossSum((losses_B * part["weights"]).sum(), part["weight"], part["tokens"])


def answer_loss(model: Any, part: dict[str, Any]) -> LossSum:
    """Summed cross-entropy of the answers' tokens after their prompts; no other logits are computed.

    part: a left-padded batch [B, T], `answers` [S], the supervised tokens, `positions` [S], where each
    is predicted, and `keep` (see `lm_head_logits`), `tokens`, the number of real ones, and where classes
    have weights `weights` [S] with their sum, `weight`.
    """
    batch = {name: part[name] for name in INPUTS}
    logits_SV = lm_head_logits(model, batch, part["keep"], part["positions"])
    weights_S = part.get("weights")
    summed = _SummedCrossEntropy.apply(logits_SV, part["answers"], weights_S)
    units = len(part["answers"]) if weights_S is None else part["weight"]
    return LossSum(summed, units, part["tokens"])


class _SummedCrossEntropy(torch.autograd.Function):
    """Cross-entropy summed over rows, times their weights, in float32; the gradient in the logits' own dtype.

    It saves the logits and one number per row for the backward pass: no log-probabilities, no float32
    copy of half-precision logits. torch's own saves two more tensors of the vocabulary's width.
    """

    @staticmethod
    def forward(
        ctx: Any, logits_SV: torch.Tensor, answers_S: torch.Tensor, weights_S: torch.Tensor | None
    ) -> torch.Tensor:
        totals_S = log_sum_exp(logits_SV)
        ctx.save_for_backward(logits_SV, answers_S, totals_S, weights_S)
        losses_S = totals_S - logits_SV.gather(1, answers_S[:, None])[:, 0].float()
        return (losses_S if weights_S is None else losses_S * weights_S).sum()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        logits_SV, answers_S, totals_S, weights_S = ctx.saved_tensors
        gradient_SV = torch.empty_like(logits_SV)
        rows = max(1, MAX_FLOAT32_LOGITS // logits_SV.shape[-1])
        for start in range(0, len(logits_SV), rows):
            piece = slice(start, start + rows)
            shares = (logits_SV[piece].float() - totals_S[piece, None]).exp_()
            answers = answers_S[piece, None]
            shares.scatter_add_(1, answers, shares.new_full(answers.shape, -1.0))
            scale = gradient if weights_S is None else gradient * weights_S[piece, None]
            gradient_SV[piece] = shares.mul_(scale)
        return gradient_SV, None, None
