"""Written answers: cross-entropy of the gold answer's tokens, and greedy answers with their scores.

In: the arm's context, shots. Out: batches of answers, losses, answers with scores.
Knows nothing of: optimizers, checkpoints, which weights train.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.context.prompt_encoding import question_format
from tuneproof.context.prompt_samples import SAMPLE_ITEMS, prompt_sample
from tuneproof.context.study_data import as_answers
from tuneproof.data.encode import EncodedAnswers
from tuneproof.data.question_prompts import QuestionFormat, answer_stop, encode_gold_answers, encode_questions
from tuneproof.data.tokens import pad_batch
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.finite import naming_items
from tuneproof.inference.generate import LINE_END, generate_answers
from tuneproof.inference.label_likelihood import score_labels
from tuneproof.inference.parse import parse_question_answer
from tuneproof.models.activation_cache import TokenRow
from tuneproof.models.device import to_device
from tuneproof.models.oom import run_in_batches
from tuneproof.models.resume_log import ResumeLog, ResumeLogs
from tuneproof.objectives.objective import IntArray, ItemObjective, Part
from tuneproof.tasks.task import Example
from tuneproof.train.gradients import LossSum
from tuneproof.train.losses import answer_loss


def collate_answers(train: EncodedAnswers, indices: IntArray, pad_id: int) -> Part:
    """Left-padded rows, so that the answers end every row; see `answer_loss`."""
    batch = pad_batch([train.ids[i] for i in indices], pad_id, "left")
    answers = [train.ids[i][train.supervised[i]] for i in indices]
    keep = max(map(len, answers)) + 1  # the token before an answer predicts its first
    positions = [
        row * keep + keep - 1 - len(answer) + step
        for row, answer in enumerate(answers)
        for step in range(len(answer))
    ]
    return {
        **batch,
        "answers": torch.from_numpy(np.concatenate(answers)),
        "positions": torch.tensor(positions, dtype=torch.long),
        "keep": keep,
        "tokens": int(batch["attention_mask"].sum()),
    }


@dataclass
class AnswerObjective(ItemObjective):
    """Cross-entropy of the gold answer, or of the no-answer string; a token is one unit."""

    shots: Sequence[Example] = ()
    resume_logs: ResumeLogs | None = None
    _golds: dict[str, EncodedAnswers] = field(default_factory=dict, repr=False)

    @cached_property
    def question_format(self) -> QuestionFormat:
        """How questions are put to the model."""
        return question_format(self.context.study, self.context.spec, self.shots)

    @cached_property
    def stop(self) -> str:
        """The text before which an answer ends: a line end, unless answers are texts of their own."""
        return answer_stop(self.context.splits.train) if self.context.recipe.task.written else LINE_END

    def encode_golds(self, name: str, examples: Sequence[Example]) -> EncodedAnswers:
        """A part's prompts with their gold answers."""
        if name not in self._golds:
            self._golds[name] = encode_gold_answers(self.question_format, examples)[0]
        return self._golds[name]

    @cached_property
    def train(self) -> EncodedAnswers:
        """The tokens of train, the answers marked."""
        return self.encode_golds(self.context.study.train_name, self.context.splits.train)

    def rows(self, part: str) -> list[TokenRow]:
        """Prompts with their gold answers; none of test, whose answers are written token by token."""
        if part == "test":
            return []
        golds = self.train if part == "train" else self.encode_golds("dev", self.context.splits.dev)
        return [TokenRow(ids) for ids in golds.ids]

    def collate(self, indices: IntArray) -> Part:
        """Left-padded rows, so that the answers end every row."""
        return collate_answers(self.train, indices, self.context.spec.pad.id)

    def count(self, part: Part) -> int:
        """Tokens of answers, their ends among them."""
        return len(part["answers"])

    def loss(self, model: Any, part: Part) -> LossSum:
        """Summed cross-entropy over the answers' tokens."""
        return answer_loss(model, part)

    def evaluate(self, model: Any, dev: Sequence[Example]) -> dict[str, float]:
        """Mean loss of dev's gold answers (nats a token); nothing is generated for it."""
        golds, compute = self.encode_golds("dev", dev), self.context.compute
        model.eval()

        def loss_of(indices: Any) -> NDArray[np.float64]:
            part = to_device(collate_answers(golds, indices, self.context.spec.pad.id), compute.device)
            with torch.inference_mode(), compute.autocast():
                loss = answer_loss(model, part)
            return np.array([float(loss.sum), loss.count])

        summed_2 = np.zeros(2)  # losses and tokens
        for _, loss_2 in run_in_batches(golds.tokens_N.tolist(), self.context.batch_size(), loss_of):
            summed_2 = summed_2 + loss_2
        return {"dev_loss": float(summed_2[0] / summed_2[1])}

    def predict(self, model: Any, examples: Sequence[Example], name: str) -> AnswerPredictions:
        """Greedy answers, and the log-probability of the no-answer string.

        The null score is that log-probability (natural log, at most 0); the answer's score is the
        log-probability of what was written, its end included.
        """
        context, settings = self.context, self.context.recipe.encode
        encoded = encode_questions(self.question_format, examples)
        with context.compute.autocast(), naming_items(examples):
            texts = generate_answers(
                model,
                context.spec.tokenizer,
                encoded.prompts,
                context.spec.pad.id,
                context.batch_size(self._resume_log(f"{name}-answers")),
                settings.answer_tokens,
                context.compute.device,
                encoded.ends,
                self.stop,
            )
            no_answer = context.study.question_prompt.no_answer
            answers = [parse_question_answer(text, no_answer) for text in texts]
            scored = encode_questions(self.question_format, examples, answers)
            scores_N2 = score_labels(
                model,
                scored.prompts,
                context.spec.pad.id,
                context.batch_size(self._resume_log(f"{name}-scores"), count=False),
                context.compute.device,
            )
        return as_answers(
            examples,
            answers,
            scores_N2[:, 0],
            scores_N2[:, 1],
            encoded.prompts.tokens_N,
            encoded.prompts.truncated_N,
            encoded.outside_N,
        )

    def _resume_log(self, name: str) -> ResumeLog | None:
        return self.resume_logs.open(name) if self.resume_logs is not None else None

    def samples(self) -> list[dict[str, Any]]:
        """Three train questions, the supervised tokens marked."""
        return [
            prompt_sample(self.context.spec, example, self.train.ids[i], self.train.supervised[i])
            for i, example in enumerate(self.context.splits.train[:SAMPLE_ITEMS])
        ]

    def prompts(self, examples: Sequence[Example]) -> Sequence[Any]:
        """Tokens of these questions' prompts."""
        return encode_questions(self.question_format, examples).prompts.prompt_ids
