"""The examples in a few-shot prompt.

In: train, the held-out items, a seed. Out: examples of train. Knows nothing of: prompts, models.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from tuneproof.context.study_data import StudyData
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.normalise import normalise_text
from tuneproof.tasks.task import Example


def draw_shots(
    train: Sequence[Example], count: int, labels: int, seed: int, held_out: Iterable[Example]
) -> list[Example]:
    """`count` train examples, as many of each label as possible, in a seeded order.

    None equals a held-out item (ignoring case, spaces and signs). Drawn label by label in turn, so that
    the labels' order in the prompt is mixed.
    """
    used = {normalise_text(example.text) for example in held_out}
    random = np.random.default_rng([seed, 7])
    order = [train[i] for i in random.permutation(len(train))]
    queues = [[e for e in order if e.label == label] for label in range(labels)]
    shots: list[Example] = []
    turn = int(random.integers(labels))
    while len(shots) < count and any(queues):
        queue = queues[turn % labels]
        turn += 1
        while queue:
            example = queue.pop(0)
            if normalise_text(example.text) not in used:
                used.add(normalise_text(example.text))
                shots.append(example)
                break
    return shots


def shots_of(study: StudyData, arm: Arm, seed: int) -> list[Example]:
    """The examples in the arm's prompt."""
    splits = study.splits
    count = arm.method.shots(arm.options) if arm.method.shots is not None else 0
    held_out = chain(splits.dev, splits.test)
    return draw_shots(splits.train, count, len(splits.labels), seed, held_out) if count else []
