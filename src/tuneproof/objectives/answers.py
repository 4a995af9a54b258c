"""A model that writes its answers: what it is trained on and how it is asked.

In: what all arms share, a ready model, shots. Out: batches of answers, losses, answers with scores.
Knows nothing of: optimizers, checkpoints, which weights train.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.context.model_spec import Compute, Ready
from tuneproof.context.monitor import Advanced, Running, Said
from tuneproof.context.progress import advancing, under
from tuneproof.context.prompt_samples import SHOWN_ITEMS, shown_item
from tuneproof.context.study_data import Shared, as_answers
from tuneproof.data.encode import EncodedAnswers
from tuneproof.data.question_prompts import Asking, EncodedQuestions, encode_gold_answers, encode_questions
from tuneproof.data.tokens import pad_batch
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.generate import answer_prompts, parse_question_answer
from tuneproof.inference.label_likelihood import empty_scores, score_labels
from tuneproof.models.activation_cache import Row
from tuneproof.models.device import on_device
from tuneproof.models.oom import AtOnce, in_batches
from tuneproof.models.resume_log import Journal, Journals
from tuneproof.tasks.task import Example
from tuneproof.train.gradients import LossSum
from tuneproof.train.losses import words_loss

Part = dict[str, Any]


def collate_answers(train: EncodedAnswers, chosen: NDArray[np.int64], pad_id: int) -> Part:
    """Left-padded rows, so that the answers end every row; `words_loss` says what else."""
    batch = pad_batch([train.ids[i] for i in chosen], pad_id, "left")
    answers = [train.ids[i][train.supervised[i]] for i in chosen]
    keep = max(map(len, answers)) + 1  # the token before an answer predicts its first
    places = [
        row * keep + keep - 1 - len(answer) + step
        for row, answer in enumerate(answers)
        for step in range(len(answer))
    ]
    return {
        **batch,
        "answers": torch.from_numpy(np.concatenate(answers)),
        "places": torch.tensor(places, dtype=torch.long),
        "keep": keep,
        "tokens": int(batch["attention_mask"].sum()),
    }


@dataclass
class AnswerObjective:
    """Cross-entropy of the gold answer, or of saying that there is none; a token is one unit."""

    shared: Shared
    ready: Ready
    compute: Compute
    shots: Sequence[Example] = ()
    kept: Journals | None = None
    _golds: dict[str, EncodedAnswers] = field(default_factory=dict, repr=False)

    @property
    def asking(self) -> Asking:
        """How questions are put to the model."""
        settings = self.shared.recipe.encode
        return Asking(
            self.ready.tokenizer,
            self.ready.family,
            self.shared.question_prompt,
            self.shots,
            self.ready.max_length,
            settings.truncate,
            settings.chat,
            settings.answer_tokens,
        )

    def golds(self, name: str, examples: Sequence[Example]) -> EncodedAnswers:
        """The part's prompts with their gold answers."""
        if name not in self._golds:
            self._golds[name] = encode_gold_answers(self.asking, examples)[0]
        return self._golds[name]

    @cached_property
    def train(self) -> EncodedAnswers:
        """The tokens of train, the answers marked."""
        return self.golds(self.shared.train_name, self.shared.splits.train)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every question of train."""
        return self.train.tokens_N

    @property
    def unit_ids(self) -> list[str]:
        """The questions of train."""
        return [example.id for example in self.shared.splits.train]

    def rows(self, part: str) -> list[Row]:
        """Prompts with their gold answers; of test none, as its answers are written token by token."""
        golds = self.train if part == "train" else None
        if part == "dev":
            golds = self.golds("dev", self.shared.splits.dev)
        return [Row(ids) for ids in golds.ids] if golds else []

    def collate(self, chosen: NDArray[np.int64]) -> Part:
        """Left-padded rows, so that the answers end every row."""
        return collate_answers(self.train, chosen, self.ready.pad.id)

    def count(self, part: Part) -> int:
        """Tokens of answers, their ends among them."""
        return len(part["answers"])

    def loss(self, model: Any, part: Part) -> LossSum:
        """Summed cross-entropy over the answers' tokens."""
        return words_loss(model, part)

    def measure(self, model: Any, dev: Sequence[Example]) -> Running[dict[str, float]]:
        """Mean loss of dev's gold answers (nats a token); nothing is generated for it."""
        golds = self.golds("dev", dev)
        summed_2 = np.zeros(2)  # losses and tokens
        model.eval()

        def work(chosen: Any) -> NDArray[np.float64]:
            part = collate_answers(golds, chosen, self.ready.pad.id)
            part = on_device(part, self.compute.device)
            with torch.inference_mode(), self.compute.autocast():
                found = words_loss(model, part)
            return np.array([float(found.sum), found.count])

        at_once = AtOnce(self.shared.recipe.predict.batch_size)

        def steps() -> Iterator[int]:
            nonlocal summed_2
            for chosen, found_2 in in_batches(golds.tokens_N.tolist(), at_once, work):
                summed_2 = summed_2 + found_2
                yield len(chosen)

        yield from advancing(steps(), at_once)
        return {"dev_loss": float(summed_2[0] / summed_2[1])}

    def ask(self, model: Any, examples: Sequence[Example], name: str) -> Running[AnswerPredictions]:
        """Greedy answers, and the log-probability of the no-answer string. Returns the answers.

        The null score is that log-probability (natural log, at most 0); the answer's score is the
        log-probability of what was written, its end included.
        """
        encoded = encode_questions(self.asking, examples)
        texts = [""] * len(examples)
        settings = self.shared.recipe
        at_once = AtOnce(settings.predict.batch_size, kept=self._journal(f"{name}-answers"))
        steps = answer_prompts(
            model,
            self.ready.tokenizer,
            encoded.asked,
            self.ready.pad.id,
            at_once,
            settings.encode.answer_tokens,
            self.compute.device,
            texts,
            encoded.ends,
        )
        yield from advancing(under(self.compute, steps), at_once)
        said = [parse_question_answer(text, self.shared.question_prompt.no_answer) for text in texts]
        scored = encode_questions(self.asking, examples, said)
        scores_N2 = empty_scores(scored.asked)
        at_once = AtOnce(settings.predict.batch_size, kept=self._journal(f"{name}-scores"))
        steps = score_labels(model, scored.asked, self.ready.pad.id, at_once, self.compute.device, scores_N2)
        for event in advancing(under(self.compute, steps), at_once):
            # its progress was shown with the answers
            yield event if isinstance(event, Said) else Advanced(0)
        return self._answers(examples, said, scores_N2, encoded)

    def _journal(self, name: str) -> Journal | None:
        return self.kept.of(name) if self.kept is not None else None

    def _answers(
        self,
        examples: Sequence[Example],
        said: Sequence[str],
        scores_N2: NDArray[np.float64],
        encoded: EncodedQuestions,
    ) -> AnswerPredictions:
        return as_answers(
            examples,
            said,
            scores_N2[:, 0],
            scores_N2[:, 1],
            encoded.asked.tokens_N,
            encoded.asked.truncated_N,
            encoded.outside_N,
        )

    def shown(self) -> list[dict[str, Any]]:
        """Three train questions, the supervised tokens marked."""
        return [
            shown_item(self.ready, example, self.train.ids[place], self.train.supervised[place])
            for place, example in enumerate(self.shared.splits.train[:SHOWN_ITEMS])
        ]

    def prompts(self, examples: Sequence[Example]) -> Sequence[Any]:
        """Tokens of these questions' prompts."""
        return encode_questions(self.asking, examples).asked.prompts

    def shown_prompts(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """These questions' prompts as the model sees them."""
        ids = self.prompts(examples)
        return [shown_item(self.ready, e, ids[i], None) for i, e in enumerate(examples)]
