"""A real training step in one of several processes, its tensors counted; a launcher starts this module.

In: a model's configuration, an arm's method, a precision, a launcher's environment. Out: bytes as JSON, from
the main process. Knows nothing of: what is predicted.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from tuneproof.data.batches import Batch
from tuneproof.families import family_of
from tuneproof.families.models import resolve_model
from tuneproof.memory.simulate_step import (
    DTYPES,
    SimulatedArm,
    Workload,
    _attention_kernels,
    _build_model,
    _fused_attention,
    _loss_of,
    _predict,
)
from tuneproof.memory.tracker import LiveMemory
from tuneproof.methods import METHODS
from tuneproof.models.fsdp import clip_gradients, local_part, shard, trained_whole, unsharded
from tuneproof.parameters.count import load_configuration
from tuneproof.process_group import current_group, join
from tuneproof.train.accelerator import make_accelerator
from tuneproof.train.gradients import accumulate_gradients
from tuneproof.train.optimizer import make_optimizer


def simulated_arm(path: Path, method: str) -> SimulatedArm:
    source = resolve_model(path, weights=False)
    config, _, _ = load_configuration(source)
    return SimulatedArm(source, config, family_of(config), METHODS[method], METHODS[method].options())


def workload_of(precision: Any, parallel: str) -> Workload:
    sizes = {"micro_batch": 2, "length": 64, "predict_batch": 2, "predict_length": 64}
    two = {"processes": 2, "shards": parallel == "fsdp"}
    return Workload("cpu", precision, accumulates=True, keeps_best_weights=False, **sizes, **two)


def held(tensors: Any) -> int:
    """Bytes of this process's parts."""
    return sum(local_part(tensor).nbytes for tensor in tensors if tensor is not None)


def measure(arm: SimulatedArm, workload: Workload) -> dict[str, int]:
    """Bytes that one process holds between two steps, and at the peaks of a step and of predicting."""
    group, accelerator = current_group(), make_accelerator("cpu", workload.precision)
    model, _ = _build_model(arm, workload)
    model = model.to_empty(device="cpu")
    live = LiveMemory(vocabulary=arm.config.vocab_size)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(0.01)
            live.hold(tensor, "weights")
    fused, fused_predicting = _fused_attention(workload)
    bytes_: dict[str, int] = {}
    with live, live.resizing():
        if workload.shards:
            shard(model, None if workload.precision == "fp32" else DTYPES[workload.precision])
            bytes_["load"] = live.peak_bytes
        optimizer = make_optimizer(model, 1e-4, 0.01)
        trained = [p for p in model.parameters() if p.requires_grad]
        loss, part, units = _loss_of(arm, workload)
        for step in range(2):  # the first makes the optimizer's state
            live.reset_peak()
            with _attention_kernels(fused):
                batch = Batch(("one", "two"), (part, part))
                accumulate_gradients(model.train(), batch, loss, units * 2, accelerator, step)
            group.all_reduce_gradients(trained_whole(model))
            clip_gradients(trained, 1.0)
            optimizer.step()
            bytes_["gradients"] = held(p.grad for p in trained)
            optimizer.zero_grad(set_to_none=True)
            bytes_["train"] = live.peak_bytes
        bytes_["weights"] = held((*model.parameters(), *model.buffers()))
        bytes_["optimizer"] = held(t for state in optimizer.state.values() for t in state.values())
        with unsharded(model):
            bytes_["dev"] = _predict(model, arm, workload, live, fused_predicting).tensors_bytes
    return bytes_


def main(path: str, cases: list[str]) -> None:
    join("cpu")
    rows = {}
    for case in cases:
        method, precision, parallel = case.split(",")
        rows[case] = measure(simulated_arm(Path(path), method), workload_of(precision, parallel))
    if current_group().is_main:
        print(json.dumps(rows))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
