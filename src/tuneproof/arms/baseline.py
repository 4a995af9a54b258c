"""A baseline arm: no language model.

In: what all arms share, one arm. Out: events and an Outcome. Knows nothing of: models, torch.
"""

import time
from pathlib import Path

import numpy as np

from tuneproof.arms.event import Running, StageBegun
from tuneproof.arms.shared import Outcome, Shared, as_predictions, labelled
from tuneproof.files import write_json
from tuneproof.recipe import Arm


def run_baseline(shared: Shared, arm: Arm) -> Running[Outcome]:
    """Fit on train, choose on dev, predict dev and test. Returns the Outcome."""
    splits = shared.splits
    fit = arm.method.fit
    assert fit is not None
    yield StageBegun("fit", None)
    begun = time.perf_counter()
    fitted = fit(
        arm.options,
        labelled(splits.train),
        labelled(splits.dev),
        [example.text for example in splits.test],
        len(splits.labels),
    )
    seconds = time.perf_counter() - begun

    def save(folder: Path) -> None:
        write_json(folder / "baseline.json", fitted.weights)

    def rows(examples, probabilities_NC):
        words_N = np.array([len(example.text.split()) for example in examples], dtype=np.int64)
        nothing_N = np.zeros(len(examples), dtype=bool)
        return as_predictions(splits.labels, examples, probabilities_NC, words_N, nothing_N)

    return Outcome(
        test=rows(splits.test, fitted.test_NC),
        dev=rows(splits.dev, fitted.dev_NC),
        ledger={
            "base": 0,
            "total": fitted.parameters,
            "trainable": fitted.parameters,
            "lines": [{"what": "coefficients", "count": fitted.parameters, "why": arm.method.title}]
            if fitted.parameters
            else [],
        },
        chosen=fitted.chosen,
        time_s={"train": seconds},
        save=save if fitted.weights else None,
    )
