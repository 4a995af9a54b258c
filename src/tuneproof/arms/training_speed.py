"""How fast an arm trained, beside what its device attains: for ledger.json.

In: a model that has trained, its objective, its steps. Out: the ledger's entry `rate`.
Knows nothing of: how the steps came about, reports.

    tokens_per_s             of the median step, without padding
    step_s                   of the median step
    operations_per_token     of matrix products, forward and backward (see throughput/flops.py)
    matrix_operations_per_s  what the device attains, in the precision that is computed in
    matrix_share             operations a second of training as a share of that, for one device
    step_bytes               the least that the median step moves (see `Workload.step_bytes`)
    bandwidth_bytes_per_s    what the device attains in a copy
    bandwidth_share          least bytes a second of training as a share of that: a lower bound
    steps                    over which the medians are: not the first one, no skipped or repeated one

What is not known is null.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tuneproof.context.model_spec import Compute
from tuneproof.models.oom import give_back, tried
from tuneproof.objectives.objective import Objective
from tuneproof.throughput.device_peak import DeviceRates
from tuneproof.throughput.flops import Workload, workload_of

ITEMS = 4


def workload(model: Any, objective: Objective, compute: Compute, recompute: bool) -> Workload | None:
    """What a token costs in training, from a few rows of lengths across all of train.

    None where memory was too small to count them.
    """
    parts = [objective.collate(np.array([place])) for place in across(objective.lengths)]
    done, found = tried(
        lambda: workload_of(model, objective.loss, parts, compute.device, compute.autocast, recompute)
    )
    if not done:
        give_back()
    return found


def across(lengths: Sequence[int] | np.ndarray) -> list[int]:
    """Places of up to four rows, each of the middle length of a quarter of them."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    middles = [(2 * place + 1) * len(order) // (2 * ITEMS) for place in range(ITEMS)]
    return sorted({int(order[place]) for place in middles})


def rate_entry(
    steps_file: Path, work: Workload | None, device: DeviceRates | None, devices: int = 1
) -> dict[str, Any]:
    """The ledger's entry `rate`; empty where nothing was trained. devices: that train together."""
    lines = [json.loads(line) for line in steps_file.read_text("utf-8").splitlines()]
    steps = [one for one in lines[1:] if not one["skipped"] and one["time_s"] > 0] or lines[:1]
    if not steps or not steps[0]["time_s"]:
        return {}
    tokens_per_s = median(one["tokens"] / one["time_s"] for one in steps)
    found: dict[str, Any] = {
        "tokens_per_s": tokens_per_s,
        "step_s": median(one["time_s"] for one in steps),
        "steps": len(steps),
        "operations_per_token": None,
        "matrix_operations_per_s": None,
        "matrix_share": None,
        "step_bytes": None,
        "bandwidth_bytes_per_s": None,
        "bandwidth_share": None,
    }
    if device is not None:
        found["matrix_operations_per_s"] = device.matrix_operations_per_s
        found["bandwidth_bytes_per_s"] = device.bandwidth_bytes_per_s
    if work is not None:
        found["operations_per_token"] = work.operations_per_token
        found["step_bytes"] = int(median(work.step_bytes(one["micro_batches"]) for one in steps))
    if device is not None and work is not None:
        per_s = work.operations_per_token * tokens_per_s / devices
        found["matrix_share"] = per_s / device.matrix_operations_per_s
        moved_per_s = median(work.step_bytes(one["micro_batches"]) / one["time_s"] for one in steps)
        found["bandwidth_share"] = moved_per_s / device.bandwidth_bytes_per_s
    return {"rate": found}
