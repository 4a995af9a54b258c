"""One real step of an arm on fake tensors: the true model, method, loss, optimizer and batch shape.

In: a configuration, a method, a workload. Out: a MemoryEstimate. Nothing is allocated or loaded.
Knows nothing of: data, the devices of this machine.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tuneproof.data.batches import Batch
from tuneproof.families.family import Family
from tuneproof.families.models import ModelSource, published_config
from tuneproof.inference.classify import batch_probabilities
from tuneproof.inference.label_likelihood import mask_log_probs
from tuneproof.memory.estimate import MemoryEstimate, Overhead, Peak, estimate_overhead, highest
from tuneproof.memory.fake_processes import fake_processes
from tuneproof.memory.simulate_prompts import PromptWorkload, make_inputs, simulate_prompts
from tuneproof.memory.tracker import LiveMemory
from tuneproof.methods.method import Method
from tuneproof.methods.options import generates_text, last_layers, trains_words
from tuneproof.models.frozen_layers import FrozenLayers
from tuneproof.models.fsdp import clip_gradients, local_part, shard, trained_whole, unsharded
from tuneproof.models.load import Head, model_on_meta, pretrained_on_meta, quiet
from tuneproof.models.matmul_backend import CACHED_KERNELS, SHORT_TOKENS, uses_onednn
from tuneproof.models.oom import recompute_activations
from tuneproof.models.pooled_features import pooled_states
from tuneproof.models.quantize import quantized_layers
from tuneproof.parameters.ledger import fresh_weight_names
from tuneproof.parameters.quantized import BLOCK, estimate_quantized
from tuneproof.process_group import ProcessGroup
from tuneproof.train.checkpoint import capture_trained
from tuneproof.train.gradients import LossFn, accumulate_gradients
from tuneproof.train.losses import answer_loss, head_loss
from tuneproof.train.optimizer import make_optimizer

Precision = Literal["fp32", "bf16", "fp16"]
CHECKPOINT_COPIES = 4  # on the CPU: the trained weights, the best on dev, AdamW's two moments
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Workload:
    """The device and the amount of work of a simulated step.

    micro_batch, length: items of a training step at once, and tokens of the longest; predict_batch,
    predict_length: the same of predicting. attention_length: by which attention is chosen; None: the longer
    one. unfused: attention is the plain one at any length. accumulates: a step has several micro-batches.
    checkpointing: gradient checkpointing is on. labels: of the head. answer_tokens: of the longest label or
    of an answer. shared_tokens: that all prompts begin with. keeps_best_weights: on the CPU, after an
    evaluation. predicts: simulate predictions too. generates: whatever the method's scoring.
    distinct_lengths: of batches. processes: that train together; the estimate is of one of them. shards: the
    weights are sharded over them while they train (compute.parallel: fsdp).
    """

    device: str = "cpu"
    precision: Precision = "fp32"
    micro_batch: int = 16
    length: int = 256
    accumulates: bool = False
    checkpointing: bool = False
    predict_batch: int = 32
    predict_length: int = 256
    attention_length: int | None = None
    unfused: bool = False
    labels: int = 2
    answer_tokens: int = 2
    shared_tokens: int = 0
    keeps_best_weights: bool = True
    predicts: bool = True
    generates: bool = False
    distinct_lengths: int = CACHED_KERNELS
    processes: int = 1
    shards: bool = False

    @property
    def overhead(self) -> Overhead:
        """The memory beside the tensors."""
        kernels = CACHED_KERNELS if uses_onednn() else 0
        return estimate_overhead(self.device, self.distinct_lengths, kernels, self.processes)


@dataclass(frozen=True)
class SimulatedArm:
    """What is simulated: a model by its configuration, and a method; the model's estimates so far."""

    source: ModelSource
    config: Any
    family: Family
    method: Method
    options: Any
    estimates: dict[Any, MemoryEstimate] = field(default_factory=dict, compare=False, repr=False)

    @property
    def objective(self) -> str:
        """How it answers: by pooled features, a head over labels, words, or a word at a mask (cloze)."""
        if self.method.kind == "prompt":
            return "words" if self.family.kind == "decoder" else "cloze"
        if self.method.apply is None:
            return "features"
        return "words" if trains_words(self.options) else "labels"


def simulate_step(arm: SimulatedArm, workload: Workload) -> MemoryEstimate:
    """Estimate the memory of one arm: a training step if it trains, then a batch of predictions.

    Fake tensors use the CPU's kernels, whose attention keeps what a GPU's memory-efficient one keeps.

    Raises: ModelError if the architecture has no such head, or the method finds no layers.
    """
    model, adjust = _build_model(arm, workload)
    fused, fused_predicting = _fused_attention(workload)  # measured here: fake tensors have no values
    trains = arm.method.apply is not None
    shards = trains and workload.shards and workload.processes > 1
    live = LiveMemory(vocabulary=int(arm.config.get_text_config().vocab_size))
    phases: dict[str, Peak] = {}
    predict: Peak | None = None
    whole: dict[str, Peak] = {}
    resizing = live.resizing() if shards else nullcontext()
    with fake_processes(workload.processes if trains else 1) as mesh, FakeTensorMode(), live, resizing:
        _make_fake(model, live)
        sizes = _Sizes.of(model, live)
        kept_alive: list[Any] = []  # an arm still holds these while it predicts
        if shards:
            # after training it loads the whole model again, without what training held
            predict = _predict(model, arm, workload, live, fused_predicting) if workload.predicts else None
            whole["load"] = _load_and_shard(model, workload, live, sizes, mesh)
        if trains:
            with _attention_kernels(fused):
                phases = _train(model, arm, workload, live, kept_alive)
        if shards and workload.device == "cpu":
            whole["checkpoint"] = _checkpoint(live, sizes)
        if workload.predicts:
            with unsharded(model):
                held = _predict(model, arm, workload, live, fused_predicting)
            if shards:
                whole["dev"] = held
            else:
                predict = adjust(held)
    phases = {name: adjust(peak) for name, peak in phases.items()}
    return MemoryEstimate(
        highest(phases),
        predict,
        workload.overhead,
        whole,
        sizes.weights + 2 * sizes.trained if shards else 0,
        *_host_bytes(arm, workload, sizes, shards),
        phases,
    )


@dataclass(frozen=True)
class _Sizes:
    """Bytes of all weights, and of those that train."""

    weights: int
    trained: int

    @classmethod
    def of(cls, model: Any, live: LiveMemory) -> "_Sizes":
        return cls(live.total, sum(p.nbytes for p in model.parameters() if p.requires_grad))


def _load_and_shard(model: Any, workload: Workload, live: LiveMemory, sizes: _Sizes, mesh: Any) -> Peak:
    """Shard the weights, of which the process held all; the same again when the trained ones are gathered."""
    live.reset_peak()
    with live.part("weights"):
        shard(model, None if workload.precision == "fp32" else DTYPES[workload.precision], mesh)
    gathered = sizes.weights + sizes.trained if workload.device == "cpu" else 0
    peak = Peak(**live.peak)
    return replace(peak, weights=max(peak.weights, gathered))


def _checkpoint(live: LiveMemory, sizes: _Sizes) -> Peak:
    """What a CPU holds while a checkpoint is written, before the shards are freed."""
    copies = CHECKPOINT_COPIES * sizes.trained // 2
    state = Peak(**live.current)
    return replace(state, weights=state.weights + copies, optimizer=state.optimizer + copies)


def _host_bytes(arm: SimulatedArm, workload: Workload, sizes: _Sizes, shards: bool) -> tuple[int, int]:
    """The machine's memory beside a GPU's, of the main process and of each other one.

    Whole models pass through it, and the main process makes checkpoints there.
    """
    if workload.device == "cpu" or workload.processes == 1:
        return 0, 0
    loaded = (0 if arm.method.quantizes else sizes.weights) + (sizes.trained if shards else 0)
    return max(loaded, CHECKPOINT_COPIES * sizes.trained), loaded


def _build_model(arm: SimulatedArm, workload: Workload) -> tuple[Any, Callable[[Peak], Peak]]:
    """The arm's model on the meta device (head, adapters, precision), and the correction of its peak.

    The simulation holds quantised layers in the precision that they compute in; the correction counts
    their quantised bytes instead, beside the largest layer dequantised, as it is forward and backward.
    """
    objective = arm.objective
    head: Head = "base" if objective == "features" else objective  # type: ignore[assignment]
    labels = [str(label) for label in range(workload.labels)]
    model = model_on_meta(arm.source, arm.config, head=head, labels=labels)
    method, options = arm.method, arm.options
    dtype = DTYPES[workload.precision]
    frozen = method.apply is None or method.freezes_base(options)
    model.to(dtype if frozen else torch.float32)
    names = quantized_layers(model, arm.family) if method.quantizes else []
    layers = [model.get_submodule(name) for name in names]
    if method.apply is not None:
        published = published_config(arm.source)
        pretrained = pretrained_on_meta(arm.source, arm.config)
        fresh = fresh_weight_names(model, pretrained, published.unnamed_modules if published else ())
        with torch.device("meta"), quiet():
            model = method.apply(model, arm.family, options, fresh)
        for layer in layers:
            layer.weight.data = layer.weight.data.to(dtype)
        if workload.checkpointing:
            recompute_activations(model)
        last = last_layers(options)
        if last is not None:
            FrozenLayers(model, last)
    return model, _quantization([layer.weight.numel() for layer in layers], dtype.itemsize)


def _quantization(sizes: list[int], width: int) -> Callable[[Peak], Peak]:
    if not sizes:
        return lambda peak: peak
    saved = sum(sizes) * width - estimate_quantized(sizes).size_bytes
    dequantized = max(sizes) * width + 4 * math.ceil(max(sizes) / BLOCK)  # and its scales
    return lambda peak: replace(peak, weights=peak.weights - saved, temporary=peak.temporary + dequantized)


def _make_fake(model: Any, live: LiveMemory) -> None:
    """Give every weight and buffer its real size, tied ones once."""
    fakes: dict[int, torch.Tensor] = {}

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in fakes:
            with live.part("weights"):
                empty = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")
            is_weight = isinstance(tensor, torch.nn.Parameter)
            fakes[id(tensor)] = torch.nn.Parameter(empty, tensor.requires_grad) if is_weight else empty
        return fakes[id(tensor)]

    originals = list(model.parameters())  # alive, so that no id is used twice
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = fake(tensor)
    del originals


def _autocast(workload: Workload) -> AbstractContextManager[Any]:
    is_full = workload.precision == "fp32"
    return nullcontext() if is_full else torch.autocast("cpu", DTYPES[workload.precision])


def _fused_attention(workload: Workload) -> tuple[bool, bool]:
    """Whether attention is fused in training and in predicting: on a CPU not if all texts are short."""
    decides = workload.attention_length
    longest = max(workload.length, workload.predict_length) if decides is None else decides
    onednn = workload.device == "cpu" and uses_onednn()
    unfused_to = math.inf if workload.unfused else SHORT_TOKENS if onednn else 0
    return longest > unfused_to, max(longest, workload.predict_length) > unfused_to


@contextmanager
def _attention_kernels(fused: bool) -> Iterator[None]:
    """Attention as `choose_matmul` sets it up."""
    before = torch.backends.cuda.flash_sdp_enabled()
    torch.backends.cuda.enable_flash_sdp(fused)
    try:
        yield
    finally:
        torch.backends.cuda.enable_flash_sdp(before)


def _train(
    model: Any, arm: SimulatedArm, workload: Workload, live: LiveMemory, kept_alive: list[Any]
) -> dict[str, Peak]:
    """A step in the middle of training: the optimizer has its state, the best weights are kept.

    Its peaks: of forward passes, of the upper and the lower half of backward passes, of the update.
    """
    optimizer = make_optimizer(model, 1e-4, 0.01)
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        with live.part("gradients"):
            parameter.grad = torch.zeros_like(parameter)
    clip_gradients(trained, 1.0)  # of shards, the first time it computes shapes with whole tensors
    with live.part("optimizer"):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if workload.keeps_best_weights and workload.device == "cpu":
        with live.part("weights"):
            kept_alive.append(capture_trained(model))
    kept_alive.append(optimizer)
    phases: dict[str, dict[str, int]] = {}
    halfway = _Halfway(live, phases, len(trained))
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(halfway)
    live.reset_peak()
    loss, part, units = _loss_of(arm, workload)
    model.train()
    parts = 2 if workload.accumulates else 1
    batch = Batch(("fake",), (part,) * parts)
    fake_accelerator: Any = SimpleNamespace(
        device=torch.device("cpu"), autocast=lambda: _autocast(workload), backward=halfway.backward
    )
    accumulate_gradients(model, batch, loss, units * parts, fake_accelerator, 1)
    with live.part("temporary"):
        ProcessGroup(0, workload.processes).all_reduce_gradients(trained_whole(model))
    clip_gradients(trained, 1.0)
    with live.part("optimizer"):
        optimizer.step()
    live.end_phase(phases, "update")
    optimizer.zero_grad(set_to_none=True)
    return {name: Peak(**peak) for name, peak in phases.items()}


@dataclass
class _Halfway:
    """Ends phases: forward, the backward pass until half of the gradients are there, the rest of it.

    At the one end of a backward pass all activations are alive, at the other all gradients.
    """

    live: LiveMemory
    phases: dict[str, dict[str, int]]
    trained: int
    gradients: int = 0

    def backward(self, loss: torch.Tensor) -> None:
        """The backward pass of a micro-batch."""
        self.live.end_forward()
        self.live.end_phase(self.phases, "forward")
        self.gradients = 0
        loss.backward()
        self.live.end_phase(self.phases, "lower backward")

    def __call__(self, parameter: torch.Tensor) -> None:
        """Count a gradient that was added to."""
        self.gradients += 1
        if parameter.grad is not None:
            self.live.hold(local_part(parameter.grad), "gradients")
        if self.gradients == self.trained // 2:
            self.live.end_phase(self.phases, "upper backward")


def _loss_of(arm: SimulatedArm, workload: Workload) -> tuple[LossFn, dict[str, Any], int]:
    """The arm's loss, a micro-batch for it, and its supervised units."""
    rows = workload.micro_batch
    part: dict[str, Any] = {**make_inputs(rows, workload.length), "tokens": rows * workload.length}
    if arm.objective == "labels":
        part["labels"] = torch.zeros(rows, dtype=torch.long)
        return (lambda model, part: head_loss(model, arm.family, part)), part, rows
    units = rows * workload.answer_tokens
    zeros_S = torch.zeros(units, dtype=torch.long)
    part |= {"answers": zeros_S, "positions": zeros_S.clone(), "keep": workload.answer_tokens + 1}
    return answer_loss, part, units


def _predict(model: Any, arm: SimulatedArm, workload: Workload, live: LiveMemory, fused: bool) -> Peak:
    """The peak of one batch."""
    live.reset_peak()
    model.eval()
    with _attention_kernels(fused), _autocast(workload):
        _predict_batch(model, arm, workload, live)
    return Peak(**live.peak)


def _predict_batch(model: Any, arm: SimulatedArm, workload: Workload, live: LiveMemory) -> None:
    """One batch, as the room `inference` computes it on the device."""
    rows = workload.predict_batch
    batch = make_inputs(rows, workload.predict_length)
    if arm.objective == "labels":
        batch_probabilities(model, arm.family, batch)
    elif arm.objective == "features":
        poolings = ("first", "mean") if arm.family.kind == "encoder" else ("last", "mean")
        pooled_states(model, arm.family, batch, poolings)
    elif arm.objective == "cloze":
        masks_B, words_C = (torch.zeros(size, dtype=torch.long) for size in (rows, workload.labels))
        mask_log_probs(model, batch, masks_B, words_C)
    else:
        prompts = PromptWorkload(
            items=rows,
            length=workload.predict_length,
            shared_tokens=workload.shared_tokens,
            labels=workload.labels,
            answer_tokens=workload.answer_tokens,
            generates=workload.generates or generates_text(arm.options),
        )
        simulate_prompts(model, prompts, live)
