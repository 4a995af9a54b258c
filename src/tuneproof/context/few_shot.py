"""The examples that stand in a few-shot prompt.

In: train, the held-out items, a seed. Out: examples of train. Knows nothing of: prompts, models.
"""

from collections.abc import Sequence

import numpy as np

from tuneproof.context.study_data import Shared
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.normalise import normalised
from tuneproof.tasks.task import Example


def draw_shots(
    train: Sequence[Example], count: int, labels: int, seed: int, held: Sequence[Example]
) -> list[Example]:
    """`count` examples of train, as many of each label as possible, in a seeded order.

    None equals a dev or test item (case, spaces and signs apart); short texts are preferred by
    nothing. Drawn label by label in turn, so that the labels' order in the prompt is mixed.
    """
    taken = {normalised(example.text) for example in held}
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
            if normalised(example.text) not in taken:
                taken.add(normalised(example.text))
                shots.append(example)
                break
    return shots


def shots_of(shared: Shared, arm: Arm, seed: int) -> list[Example]:
    """The examples that stand in the arm's prompt."""
    splits = shared.splits
    count = arm.method.shots(arm.options) if arm.method.shots is not None else 0
    held = [*splits.dev, *splits.test]
    return draw_shots(splits.train, count, len(splits.labels), seed, held) if count else []
