"""Labels by entailment: every item is the premise of one hypothesis for each label.

In: a classifier of pairs with an output named entailment, items. Out: predictions.
Knows nothing of: files, training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tuneproof.context.arm_context import ArmContext
from tuneproof.context.prompt_samples import SAMPLE_ITEMS, prompt_sample
from tuneproof.context.study_data import as_predictions
from tuneproof.data.tokens import pad_batch
from tuneproof.errors import ModelError, RecipeError
from tuneproof.inference.label_likelihood import probabilities
from tuneproof.inference.prediction import Predictions
from tuneproof.methods.nli import NliOptions
from tuneproof.models.device import float64_array, to_device
from tuneproof.models.oom import run_in_batches
from tuneproof.tasks.task import Example

ENTAILMENT = ("entailment", "entail", "entailed")


def entailment_outputs(config: Any, name: str) -> tuple[str, ...]:
    """The names of the model's outputs, in their order. Raises: ModelError where none is entailment."""
    names = tuple(str(config.id2label[row]) for row in range(config.num_labels))
    if sum(output.casefold() in ENTAILMENT for output in names) != 1:
        problem = "is no model of natural language inference: no output is named entailment."
        raise ModelError(name, problem, f"Its outputs are {', '.join(names)}.", "Use another model.")
    return names


@dataclass
class EntailmentPredictor:
    """Scores the hypothesis of each label against the text."""

    context: ArmContext

    def encode(self, examples: Sequence[Example]) -> list[tuple[dict[str, Any], bool]]:
        """For each item and label the tokens of text and hypothesis, and whether the text was cut."""
        context = self.context
        options, tokenizer = context.options, context.spec.tokenizer
        assert isinstance(options, NliOptions)
        if options.hypothesis.count("{label}") != 1:
            problem = f"{options.hypothesis!r} does not hold {{label}} once."
            raise RecipeError("arms.nli.hypothesis", problem, do="Write it once.")
        words = context.study.prompt.words
        hypotheses = [options.hypothesis.replace("{label}", word) for word in words]
        limit, pairs = context.spec.max_length, []
        for example in examples:
            for hypothesis in hypotheses:
                whole = tokenizer(example.text, hypothesis)
                cut = len(whole["input_ids"]) > limit
                if cut:
                    whole = tokenizer(example.text, hypothesis, truncation="only_first", max_length=limit)
                pairs.append((dict(whole), cut))
        return pairs

    def predict(self, model: Any, examples: Sequence[Example], name: str) -> Predictions:
        """The softmax over labels of the logits of entailment."""
        context, pairs = self.context, self.encode(examples)
        names = entailment_outputs(context.spec.config, context.spec.name)
        column = next(row for row, output in enumerate(names) if output.casefold() in ENTAILMENT)
        lengths = [len(tokens["input_ids"]) for tokens, _ in pairs]

        def work(indices: Any) -> Any:
            rows = [pairs[i][0] for i in indices]
            batch = pad_batch([row["input_ids"] for row in rows], context.spec.pad.id, "right")
            if "token_type_ids" in rows[0]:
                width = batch["input_ids"].shape[1]
                types = [
                    [*row["token_type_ids"], *[0] * (width - len(row["token_type_ids"]))] for row in rows
                ]
                batch["token_type_ids"] = torch.tensor(types)
            with torch.inference_mode(), context.compute.autocast():
                logits_BC = model(**to_device(batch, context.compute.device)).logits
            return float64_array(logits_BC[:, column])

        scores = np.empty(len(pairs))
        for indices, values in run_in_batches(lengths, context.batch_size(count=False), work):
            scores[indices] = values
        labels = len(context.study.labels)
        shape = (len(examples), labels)
        cut_NC = np.array([is_cut for _, is_cut in pairs], dtype=bool).reshape(shape)
        tokens_N = np.array(lengths, dtype=np.int64).reshape(shape).max(axis=1)
        shares_NC = probabilities(scores.reshape(shape))
        return as_predictions(context.study.labels, examples, shares_NC, tokens_N, np.any(cut_NC, axis=1))

    def samples(self) -> list[dict[str, Any]]:
        """Three test items with the hypothesis of the first label."""
        examples = self.context.splits.test[:SAMPLE_ITEMS]
        pairs = self.encode(examples)[:: len(self.context.study.labels)]
        return [
            prompt_sample(self.context.spec, example, tokens["input_ids"], None)
            for example, (tokens, _) in zip(examples, pairs, strict=True)
        ]
