"""One real step of an arm on fake tensors: the true model, method, loss, optimizer and batch shape.

In: a configuration, a method, a scene. Out: a Forecast. Nothing is allocated, nothing is loaded.
Knows nothing of: data, devices that are there.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tuneproof.data.batches import Batch
from tuneproof.families.family import Family
from tuneproof.families.models import ModelSource, facts_of
from tuneproof.inference.classify import label_shares
from tuneproof.inference.label_likelihood import cloze_logs
from tuneproof.memory.estimate import Forecast, Peak, Terms, peak_of, terms_of
from tuneproof.memory.simulate_prompts import Asking, inputs, play_prompts
from tuneproof.memory.tracker import LiveMemory
from tuneproof.methods.layers import last_layers
from tuneproof.methods.method import Method
from tuneproof.models.frozen_layers import Trunk
from tuneproof.models.load import Head, model_on_meta, pretrained_on_meta, quiet
from tuneproof.models.matmul_backend import CACHED_KERNELS, SHORT_TOKENS, keeps_kernels
from tuneproof.models.oom import recompute_activations
from tuneproof.models.pooled_features import pooled_states
from tuneproof.models.quantize import packed_layers
from tuneproof.parameters.ledger import fresh_ahead
from tuneproof.parameters.quantized import packed_ahead
from tuneproof.train.checkpoint import capture_trained
from tuneproof.train.gradients import LossSum, accumulate
from tuneproof.train.losses import head_loss, words_loss
from tuneproof.train.optimizer import make_optimizer

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Scene:
    """Where a step is played, and on how much.

    device: cpu or cuda. micro_batch, length: items of a training step on the device at once, and tokens
    of the longest. accumulates: there are several micro-batches to a step, so that the second one meets
    the gradients of the first. predict_batch, predict_length: the same of predicting. labels: of the
    head. answer_tokens: of the longest label's words, or of a written answer. keeps_best:
    training goes on after an evaluation whose weights are kept (in the memory of the CPU). predicts: whether
    a batch of predictions is played too. writes: answers are written, whatever the method's scoring.
    lengths: how many different ones batches have.
    """

    device: str = "cpu"
    precision: Precision = "fp32"
    micro_batch: int = 16
    length: int = 256
    accumulates: bool = False
    recompute: bool = False
    predict_batch: int = 32
    predict_length: int = 256
    labels: int = 2
    answer_tokens: int = 2
    start: int = 0
    keeps_best: bool = True
    predicts: bool = True
    writes: bool = False
    lengths: int = CACHED_KERNELS

    @property
    def terms(self) -> Terms:
        """What comes on top of the tensors."""
        return terms_of(self.device, self.lengths, CACHED_KERNELS if keeps_kernels() else 0)


@dataclass(frozen=True)
class Subject:
    """What is played: a model by its configuration, under a method with its options."""

    source: ModelSource
    config: Any
    family: Family
    method: Method
    options: Any

    @property
    def objective(self) -> str:
        """What it answers with: features, a head over labels, words, or a word at a mask."""
        if self.method.kind == "prompt":
            return "words" if self.family.kind == "decoder" else "cloze"
        if self.method.apply is None:
            return "features"
        return "words" if getattr(self.options, "objective", "head") == "words" else "labels"


def play(subject: Subject, scene: Scene) -> Forecast:
    """The forecast of one arm: a training step where it trains, then a batch of predictions.

    Fake tensors have a CPU's kernels, whose attention keeps what a GPU's memory-efficient one keeps.

    Raises: ModelError where the architecture has no such head, or the method finds no layers.
    """
    model, packed = _built(subject, scene)
    live = LiveMemory(vocabulary=int(subject.config.get_text_config().vocab_size))
    train: Peak | None = None
    with _fused(scene), FakeTensorMode(), live:
        _make_fake(model, live)
        kept: list[Any] = []  # what an arm goes on holding while it predicts
        if subject.method.apply is not None:
            train = _train(model, subject, scene, live, kept)
        predict: Peak | None = None
        if scene.predicts:
            live.forget_peak()
            model.eval()
            with _autocast(scene):
                _predict(model, subject, scene, live)
            predict = packed(peak_of(live.peak))
    return Forecast(packed(train) if train else None, predict, scene.terms)


def _built(subject: Subject, scene: Scene) -> tuple[Any, Callable[[Peak], Peak]]:
    """The model as the arm has it, on the meta device: head, adapters, what trains, precision.

    And what packing makes of a peak: the layers are played in the precision that they are computed in,
    and counted by the bytes that they are held in, beside one of them unpacked.
    """
    heads: dict[str, Head] = {"features": "base"}
    objective = subject.objective
    head: Head = heads.get(objective, objective)  # type: ignore[arg-type]
    labels = [str(place) for place in range(scene.labels)]
    model = model_on_meta(subject.source, subject.config, head=head, labels=labels)
    method, options = subject.method, subject.options
    dtype = DTYPES[scene.precision]
    frozen = method.apply is None or method.freezes(options)
    model.to(dtype if frozen else torch.float32)
    names = packed_layers(model, subject.family) if method.packs else []
    layers = [model.get_submodule(name) for name in names]
    if method.apply is not None:
        facts = facts_of(subject.source)
        pretrained = pretrained_on_meta(subject.source, subject.config)
        fresh = fresh_ahead(model, pretrained, facts.held if facts else ())
        with torch.device("meta"), quiet():
            model = method.apply(model, subject.family, options, fresh)
        for layer in layers:
            layer.weight.data = layer.weight.data.to(dtype)
        if scene.recompute:
            recompute_activations(model)
        last = last_layers(options)
        if last is not None:
            Trunk(model, last)
    return model, _packing([layer.weight.numel() for layer in layers], dtype.itemsize)


def _packing(sizes: list[int], width: int) -> Callable[[Peak], Peak]:
    if not sizes:
        return lambda peak: peak
    less = sum(sizes) * width - packed_ahead(sizes).size_bytes
    unpacked = max(sizes) * width
    return lambda peak: replace(peak, weights=peak.weights - less, temporary=peak.temporary + unpacked)


def _make_fake(model: Any, live: LiveMemory) -> None:
    """Give every weight and buffer the size that it will have, tied ones once."""
    made: dict[int, torch.Tensor] = {}

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in made:
            with live.part("weights"):
                empty = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")
            is_weight = isinstance(tensor, torch.nn.Parameter)
            made[id(tensor)] = torch.nn.Parameter(empty, tensor.requires_grad) if is_weight else empty
        return made[id(tensor)]

    held = list(model.parameters())  # so that no two of them have one id in turn
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = fake(tensor)
    del held


class _Pretended:
    """What `accumulate` asks of Accelerate: a device, the precision, the backward pass."""

    device = torch.device("cpu")

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass."""
        return _autocast(self.scene)

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of a loss."""
        loss.backward()


def _autocast(scene: Scene) -> AbstractContextManager[Any]:
    if scene.precision == "fp32":
        return nullcontext()
    return torch.autocast("cpu", DTYPES[scene.precision])


@contextmanager
def _fused(scene: Scene) -> Iterator[None]:
    """Attention as `choose_matmul` sets it up: unfused on a CPU where all texts are short."""
    before = torch.backends.cuda.flash_sdp_enabled()
    longest = max(scene.length, scene.predict_length)
    unfused = scene.device == "cpu" and longest <= SHORT_TOKENS and keeps_kernels()
    torch.backends.cuda.enable_flash_sdp(not unfused)
    try:
        yield
    finally:
        torch.backends.cuda.enable_flash_sdp(before)


def _train(model: Any, subject: Subject, scene: Scene, live: LiveMemory, kept: list[Any]) -> Peak:
    """A step in the middle of training: the optimizer has its state, dev has had its best weights."""
    optimizer = make_optimizer(model, 1e-4, 0.01)
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        with live.part("gradients"):
            parameter.grad = torch.zeros_like(parameter)
    with live.part("optimizer"):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if scene.keeps_best and scene.device == "cpu":
        with live.part("weights"):
            kept.append(capture_trained(model))
    kept.append(optimizer)
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(_as_gradient(live))
    live.forget_peak()
    loss, part, units = _loss_of(subject, scene)
    model.train()
    times = 2 if scene.accumulates else 1
    batch = Batch(("fake",), (part,) * times)
    accumulate(model, batch, loss, units * times, _Pretended(scene), 1)
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    with live.part("optimizer"):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return peak_of(live.peak)


def _as_gradient(live: LiveMemory) -> Callable[[torch.Tensor], None]:
    def hold(parameter: torch.Tensor) -> None:
        if parameter.grad is not None:
            live.hold(parameter.grad, "gradients")

    return hold


def _loss_of(subject: Subject, scene: Scene) -> tuple[Callable[[Any, Any], LossSum], dict[str, Any], int]:
    """The arm's loss, a micro-batch for it, and its supervised units."""
    rows = scene.micro_batch
    part: dict[str, Any] = {**inputs(rows, scene.length), "tokens": rows * scene.length}
    if subject.objective == "labels":
        part["labels"] = torch.zeros(rows, dtype=torch.long)
        return (lambda model, part: head_loss(model, subject.family, part)), part, rows
    units = rows * scene.answer_tokens
    part |= {
        "answers": torch.zeros(units, dtype=torch.long),
        "places": torch.zeros(units, dtype=torch.long),
        "keep": scene.answer_tokens + 1,
    }
    return words_loss, part, units


def _predict(model: Any, subject: Subject, scene: Scene, live: LiveMemory) -> None:
    """One batch, as `predict/` carries it out on the device."""
    rows = scene.predict_batch
    batch = inputs(rows, scene.predict_length)
    places_B = torch.zeros(rows, dtype=torch.long)
    words_C = torch.zeros(scene.labels, dtype=torch.long)
    if subject.objective == "labels":
        label_shares(model, subject.family, batch)
    elif subject.objective == "features":
        poolings = ("first", "mean") if subject.family.kind == "encoder" else ("last", "mean")
        pooled_states(model, subject.family, batch, poolings)
    elif subject.objective == "cloze":
        cloze_logs(model, batch, places_B, words_C)
    else:
        scoring = getattr(subject.options, "scoring", "likelihood")
        generates = scene.writes or scoring == "generate"
        shape = Asking(rows, scene.predict_length, scene.start, scene.labels, scene.answer_tokens, generates)
        play_prompts(model, shape, live)
