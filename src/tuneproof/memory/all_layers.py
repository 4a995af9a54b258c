"""The memory of one arm at all of its layers, from simulations of few.

In: an arm, a workload. Out: the MemoryEstimate that `simulate_step` gives. Knows nothing of: what fits.

What is alive at any moment grows by the same bytes with every layer, where layers are alike. So the peak of
each phase of a step lies on a line through two depths; the moment at which one layer is alone does not, and
is left out. Where a model's layers are not alike in weights, all of them are simulated.
"""

from dataclasses import asdict, replace

from tuneproof.families.blocks import layers_of, with_layers
from tuneproof.memory.estimate import MemoryEstimate, Peak, highest
from tuneproof.memory.simulate_step import SimulatedArm, Workload, simulate_step
from tuneproof.methods.options import last_layers
from tuneproof.models.shallow import base_weights


def estimate_step(arm: SimulatedArm, workload: Workload) -> MemoryEstimate:
    """Estimate the memory of one arm: a training step if it trains, then a batch of predictions.

    The same work is simulated once: all methods that read frozen features do the same.

    Raises: as `simulate_step`.
    """
    method = arm.objective if arm.objective == "features" else (arm.method.name, repr(arm.options))
    if (method, workload) not in arm.estimates:
        arm.estimates[method, workload] = _estimate_step(arm, workload)
    return arm.estimates[method, workload]


def _estimate_step(arm: SimulatedArm, workload: Workload) -> MemoryEstimate:
    layers = layers_of(arm.config)
    below = last_layers(arm.options) or 1
    depths = (below + 1, below + 2)
    if layers is None or layers <= 2 * depths[1] or workload.shards or not _are_alike(arm, layers, depths):
        return simulate_step(arm, workload)
    low, high = (
        simulate_step(replace(arm, config=with_layers(arm.config, depth)), workload) for depth in depths
    )
    further = layers - depths[0]
    phases = {name: _extended(peak, high.phases[name], further) for name, peak in low.phases.items()}
    hosts = {
        name: getattr(low, name) + further * (getattr(high, name) - getattr(low, name))
        for name in ("host_bytes", "other_host_bytes")
    }
    predict = _extended(low.predict, high.predict, further) if low.predict and high.predict else None
    return replace(low, train=highest(phases), predict=predict, phases=phases, **hosts)


def _extended(low: Peak, high: Peak, further: int) -> Peak:
    """The peak with `further` more layers, from one and the same with one more."""
    above = asdict(high)
    return Peak(**{part: size + further * (above[part] - size) for part, size in asdict(low).items()})


def _are_alike(arm: SimulatedArm, layers: int, depths: tuple[int, int]) -> bool:
    """Whether every layer has as many weights as the others."""
    low, high, whole = (
        base_weights(arm.source, with_layers(arm.config, depth)) for depth in (*depths, layers)
    )
    return whole == low + (layers - depths[0]) * (high - low)
