"""The objective of an arm, by its options and the task's kind.

In: the arm's context. Out: an Objective. Knows nothing of: how any objective works.
"""

from typing import Any

from tuneproof.context.arm_context import ArmContext
from tuneproof.methods.options import trains_words
from tuneproof.objectives.answers import AnswerObjective
from tuneproof.objectives.head import HeadObjective
from tuneproof.objectives.label_words import LabelWordsObjective
from tuneproof.objectives.objective import Objective
from tuneproof.objectives.span import SpanObjective


def make_objective(context: ArmContext) -> Objective:
    """A head or words, over labels or questions."""
    words = trains_words(context.options)
    questions = context.study.kind == "questions"
    kind: Any = {
        (False, False): HeadObjective,
        (False, True): LabelWordsObjective,
        (True, False): SpanObjective,
        (True, True): AnswerObjective,
    }[questions, words]
    return kind(context)
