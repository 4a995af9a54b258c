"""How far an arm's predictions differ when it makes them twice, on a device that may not repeat its bits.

In: the arm's context, what predicts items. Out: the ledger's entry `noise_floor`, and a sentence.
Knows nothing of: training, test items, scores.
"""

from typing import Any

import numpy as np

from tuneproof.arms.serving_speed import Serve
from tuneproof.context.arm_context import ArmContext
from tuneproof.models.deterministic import repeats_bits

MAX_ITEMS = 64


def measure_noise_floor(context: ArmContext, serve: Serve) -> dict[str, dict[str, Any]]:
    """The entry, from dev items that are predicted twice; nothing where the device gives the same bits.

    serve: the size of a batch → a function that predicts items. Keys: items, changed (labels or answers),
    largest_difference (of probabilities; None where there are none).
    """
    compute, dev = context.compute, context.splits.dev
    if repeats_bits(compute.device.type, compute.deterministic):
        return {}
    items = dev[:: -(-len(dev) // MAX_ITEMS)]
    predict = serve(context.recipe.predict.batch_size)
    first, second = predict(items), predict(items)
    if first.probabilities_NC is None:
        changed, largest = sum(a != b for a, b in zip(first.answers, second.answers, strict=True)), None
    else:
        differences_NC = np.abs(first.probabilities_NC - second.probabilities_NC)
        labels_N, again_N = (each.probabilities_NC.argmax(1) for each in (first, second))
        changed, largest = int((labels_N != again_N).sum()), float(differences_NC.max())
    return {"noise_floor": {"items": len(items), "changed": changed, "largest_difference": largest}}


def noise_notes(ledger: dict[str, Any]) -> list[str]:
    """The ledger's entry in a sentence; none where nothing was measured."""
    if "noise_floor" not in ledger:
        return []
    noise = ledger["noise_floor"]
    largest = noise["largest_difference"]
    probabilities = "" if largest is None else f" The largest difference of probabilities was {largest:.2g}."
    return [
        f"{noise['items']} dev items were predicted twice with the same weights: {noise['changed']} got "
        f"another answer.{probabilities} The noise of training again is not in these figures. A study that "
        "was stopped resumes to the same study, not to the same bits."
    ]
