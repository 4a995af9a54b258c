"""Progress of a prediction, batch by batch, and what there is to say where memory ran out.

In: the steps of a prediction. Out: events. Knows nothing of: models, what is predicted.
"""

from collections.abc import Iterator

from tuneproof.context.model_spec import Compute
from tuneproof.context.monitor import Advanced, Running, Said
from tuneproof.models.oom import AtOnce


def under(compute: Compute, steps: Iterator[int]) -> Iterator[int]:
    """The same steps, each in the precision of the study."""
    while True:
        with compute.autocast():
            done = next(steps, None)
        if done is None:
            return
        yield done


def advancing(steps: Iterator[int], at_once: AtOnce) -> Running[None]:
    """Progress of a prediction, and what there is to say where memory ran out."""
    told = 0
    for done in steps:
        for size in at_once.too_many[told:]:
            text = (
                f"Memory ran out while predicting {size} items at once; half as many are predicted "
                "at once from here on. The predictions are the same."
            )
            yield Said(text, "warning", noted=True)
        told = len(at_once.too_many)
        yield Advanced(done)


def as_items(steps: Iterator[int], windows: int, items: int) -> Iterator[int]:
    """Windows done as whole items done, so many of each in all."""
    seen = told = 0
    for done in steps:
        seen += done
        reached = items * seen // windows
        yield reached - told
        told = reached
