"""How fast an arm trained, beside the peak of its device: for ledger.json.

In: a model that has trained, its objective, its steps. Out: the ledger's entry `training_speed`.
Knows nothing of: how the steps came about, reports.

    tokens_per_s                of the median step, without padding
    step_s                      of the median step
    steps                       over which the medians are: without the first, skipped and repeated ones
    flops_per_token             of matrix products, forward and backward (see throughput/flops.py)
    peak_flops_per_s            that the device attains in this precision
    mfu                         FLOPs per second of training as a share of that, per device
    step_bytes                  the least that the median step moves (see `TrainingCost.step_bytes`)
    peak_bandwidth_bytes_per_s  that the device attains in a copy
    bandwidth_utilization       least bytes per second of training as a share of that: a lower bound

What is not known is null.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tuneproof.context.arm_context import ArmContext
from tuneproof.models.oom import release_memory, run_or_oom
from tuneproof.objectives.objective import Objective
from tuneproof.throughput.device_peak import DevicePeak
from tuneproof.throughput.flops import TrainingCost, measure_training_cost

SAMPLED_ROWS = 4


def sample_training_cost(context: ArmContext, model: Any, objective: Objective) -> TrainingCost | None:
    """The cost of training per token, from a few rows of different lengths; None if memory is too small.

    It is the same for all seeds that learn from the same items.
    """
    compute, recompute = context.compute, context.recipe.train.gradient_checkpointing
    rows = sample_rows(objective.lengths)

    def measure() -> TrainingCost | None:
        parts = [objective.collate(np.array([row])) for row in rows]
        done, cost = run_or_oom(
            lambda: measure_training_cost(
                model, objective.loss, parts, compute.device, compute.autocast, recompute
            )
        )
        if not done:
            release_memory()
        return cost

    return context.once("cost of training", objective.lengths, measure)


def sample_rows(lengths: Sequence[int] | np.ndarray) -> list[int]:
    """Up to four rows, each with the middle length of a quarter of all rows."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    middles = [(2 * quarter + 1) * len(order) // (2 * SAMPLED_ROWS) for quarter in range(SAMPLED_ROWS)]
    return sorted({int(order[middle]) for middle in middles})


def training_speed_entry(
    steps_file: Path, cost: TrainingCost | None, peak: DevicePeak | None, devices: int = 1
) -> dict[str, Any]:
    """The ledger's entry `training_speed`; empty if nothing was trained. devices: that train together."""
    lines = [json.loads(line) for line in steps_file.read_text("utf-8").splitlines()]
    steps = [step for step in lines[1:] if not step["skipped"] and step["time_s"] > 0] or lines[:1]
    if not steps or not steps[0]["time_s"]:
        return {}
    tokens_per_s = median(step["tokens"] / step["time_s"] for step in steps)
    entry: dict[str, Any] = {
        "tokens_per_s": tokens_per_s,
        "step_s": median(step["time_s"] for step in steps),
        "steps": len(steps),
        "flops_per_token": None,
        "peak_flops_per_s": None,
        "mfu": None,
        "step_bytes": None,
        "peak_bandwidth_bytes_per_s": None,
        "bandwidth_utilization": None,
    }
    if peak is not None:
        entry["peak_flops_per_s"] = peak.flops_per_s
        entry["peak_bandwidth_bytes_per_s"] = peak.bandwidth_bytes_per_s
    if cost is not None:
        entry["flops_per_token"] = cost.flops_per_token
        entry["step_bytes"] = int(median(cost.step_bytes(step["micro_batches"]) for step in steps))
    if peak is not None and cost is not None:
        flops_per_s = cost.flops_per_token * tokens_per_s / devices
        entry["mfu"] = flops_per_s / peak.flops_per_s
        moved_per_s = median(cost.step_bytes(step["micro_batches"]) / step["time_s"] for step in steps)
        entry["bandwidth_utilization"] = moved_per_s / peak.bandwidth_bytes_per_s
    return {"training_speed": entry}
