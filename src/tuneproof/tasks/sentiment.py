"""What the sentiment tasks share: labels, prompt and metrics.

In: nothing. Out: their labels, metrics and prompt. Knows nothing of: files, splits, models.
"""

from collections.abc import Sequence
from typing import Any

from tuneproof.tasks.task import Prompt

LABELS = ("negative", "positive")
LABEL_ALIASES = {"neg": "negative", "pos": "positive"}
METRICS = (
    *("accuracy", "f1", "precision", "recall", "f1_macro", "f1_weighted"),
    *("brier", "expected_calibration_error"),
)


def sentiment_prompt(options: Any, labels: Sequence[str]) -> Prompt:
    """The prompt for a review; the cloze follows LM-BFF (Gao et al. 2021, table 1)."""
    return Prompt(
        instruction="Decide whether the review is negative or positive.",
        template="Review: {text}\nSentiment:",
        words=LABELS,
        cloze="{text} It was {mask}.",
        cloze_words=("terrible", "great"),
    )
