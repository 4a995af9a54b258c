"""An arm's peak memory before it runs, and the settings under which it fits.

In: the arm's context. Out: study data with the chosen settings, and the estimate.
Knows nothing of: weights, how an arm runs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.context.arm_context import ArmContext
from tuneproof.context.few_shot import shots_of
from tuneproof.context.prompt_encoding import encode_label_cloze, encode_label_prompts, question_format
from tuneproof.context.study_data import StudyData
from tuneproof.data.prefix_trie import common_prefix_of_all
from tuneproof.data.question_prompts import QuestionFormat, encode_gold_answers
from tuneproof.errors import RunError
from tuneproof.memory.estimate import CONTEXT_BYTES, MemoryEstimate, Peak
from tuneproof.memory.usage import free_bytes
from tuneproof.methods.options import TunedOptions, last_layers, trains_words
from tuneproof.recipe.search import with_values
from tuneproof.settings import DEFAULT_EPOCHS, parse_memory_size
from tuneproof.tasks.task import Example

if TYPE_CHECKING:
    from tuneproof.memory.simulate_step import Workload

LONG_ITEMS = 8  # of a part, whose prompts are encoded to find the longest
LONG_QUESTIONS = 64  # the same, where characters alone tell which are long
GIGABYTE = 10**9


@dataclass(frozen=True)
class MemoryPlan:
    """The study data with the chosen settings in its recipe, and the estimate under them.

    estimate None: compute.memory is not set.
    """

    study: StudyData
    estimate: MemoryEstimate | None = None
    limit_bytes: int = 0
    chosen: dict[str, Any] | None = None
    sentence: str = ""

    def record(self, peaks: dict[str, int], resident_bytes: int) -> dict[str, Any]:
        """The ledger's entry `memory`: predicted beside measured. Empty without an estimate.

        peaks: as `peak_bytes` gives them; resident_bytes: what the process held before the arm. On a
        GPU the allocator's peak covers tensors alone, so that the rest is not compared.
        """
        if self.estimate is None:
            return {}
        on_gpu = self.estimate.overhead.device == "cuda"
        measured = peaks["device"] if on_gpu else max(1, peaks["process"] - resident_bytes)
        predicted = self.estimate.peak.tensors_bytes if on_gpu else self.estimate.total_bytes
        return {
            "limit_bytes": self.limit_bytes,
            "predicted": self.estimate.as_json(),
            "settings": self.chosen,
            "predicted_bytes": predicted,
            "measured_bytes": measured,
            "measured_by": "the device's allocator"
            if on_gpu
            else "resident memory beyond that before the arm",
            "error": predicted / measured - 1,
        }


def plan_memory(context: ArmContext) -> MemoryPlan:
    """Estimate the arm's peak and choose settings that keep it within `compute.memory`, where that is set.

    The effective batch stays as set. The micro-batch is taken where it fits, else halves of it down to a
    quarter of the batch, then gradient checkpointing if more items fit with it, then smaller micro-batches.
    The prediction batch is halved until it fits.

    Raises: RunError where not even one item fits; ModelError as `simulate_step`.
    """
    from tuneproof.memory.simulate_step import SimulatedArm
    from tuneproof.models.oom import release_memory

    memory = context.recipe.compute.memory
    if memory is None:
        return MemoryPlan(context.study)
    device = "cuda" if context.compute.device.type == "cuda" else "cpu"
    if memory == "auto":
        release_memory()  # what the arm before has left is free for this one
        # a GPU's CUDA context exists by now
        limit = free_bytes(device) + (CONTEXT_BYTES if device == "cuda" else 0)
    else:
        limit = parse_memory_size(memory, "compute.memory")
    spec, arm = context.spec, context.arm
    options = with_values(arm.options, context.search.largest) if context.search else arm.options
    simulated = SimulatedArm(spec.source, spec.config, spec.family, arm.method, options)
    workload = _workload(context, device)

    def estimate(micro_batch: int, checkpointing: bool, predict_batch: int) -> MemoryEstimate:
        changed = replace(
            workload,
            micro_batch=micro_batch,
            checkpointing=checkpointing,
            predict_batch=predict_batch,
            accumulates=micro_batch < context.recipe.train.batch_size,
        )
        return spec.estimate_memory(simulated, changed)

    return _fit_within(context, estimate, limit)


def predict_peak(context: ArmContext) -> int:
    """The arm's peak in bytes under its settings as written. Raises: ModelError as `estimate_step`."""
    from tuneproof.memory.all_layers import estimate_step
    from tuneproof.memory.simulate_step import SimulatedArm

    spec, arm, recipe = context.spec, context.arm, context.recipe
    device = "cuda" if context.compute.device.type == "cuda" else "cpu"
    micro_batch = recipe.train.micro_batch or recipe.train.batch_size
    workload = replace(
        _workload(context, device),
        micro_batch=micro_batch,
        checkpointing=recipe.train.gradient_checkpointing,
        predict_batch=recipe.predict.batch_size,
        accumulates=micro_batch < recipe.train.batch_size,
    )
    simulated = SimulatedArm(spec.source, spec.config, spec.family, arm.method, arm.options)
    return estimate_step(simulated, workload).total_bytes


def with_settings(study: StudyData, settings: Mapping[str, Any]) -> StudyData:
    """The same study data under settings by their dotted names."""
    recipe = study.recipe
    parts = {}
    for part in ("train", "predict"):
        values = {k.partition(".")[2]: v for k, v in settings.items() if k.startswith(f"{part}.")}
        parts[part] = getattr(recipe, part).model_copy(update=values)
    return replace(study, recipe=recipe.model_copy(update=parts))


def _fit_within(
    context: ArmContext, estimate: Callable[[int, bool, int], MemoryEstimate], limit: int
) -> MemoryPlan:
    train, trains = context.recipe.train, context.arm.method.apply is not None
    micro = train.micro_batch or train.batch_size
    requested: dict[str, Any] = {"predict.batch_size": context.recipe.predict.batch_size}
    if trains:
        requested |= {
            "train.micro_batch": micro,
            "train.gradient_checkpointing": train.gradient_checkpointing,
        }
    checkpointing, fitting = train.gradient_checkpointing, 1
    if trains:
        fitting, checkpointing = _micro_batch(estimate, micro, train.batch_size, checkpointing, limit)
        micro = max(1, fitting)
    batch = _halve_until(
        lambda size: estimate(micro, checkpointing, size),
        requested["predict.batch_size"],
        limit,
        lambda one: one.predict,
    )
    final = estimate(micro, checkpointing, max(1, batch))
    if not batch or not fitting:
        raise RunError(
            context.arm.name,
            f"needs {final.total_bytes / GIGABYTE:.2f} GB for one item at a time; "
            f"{limit / GIGABYTE:.2f} GB are available.",
            f"`tuneproof memory {context.spec.source.path_or_id} --memory {limit}B` shows what fits.",
            "Use another method or shorter texts, or leave compute.memory out to try anyway.",
        )
    chosen = {"predict.batch_size": batch}
    if trains:
        chosen |= {"train.micro_batch": micro, "train.gradient_checkpointing": checkpointing}
    sentence = "" if chosen == requested else _sentence(chosen, final, limit, train.batch_size)
    applied = dict(chosen)
    if trains:
        applied["train.micro_batch"] = min(micro, train.batch_size)
    return MemoryPlan(with_settings(context.study, applied), final, limit, chosen, sentence)


def _micro_batch(
    estimate: Callable[[int, bool, int], MemoryEstimate],
    micro: int,
    batch_size: int,
    checkpointing: bool,
    limit: int,
) -> tuple[int, bool]:
    """The micro-batch that fits (0: none), and whether with gradient checkpointing."""
    fitting = _halve_until(lambda size: estimate(size, checkpointing, 1), micro, limit, lambda one: one.train)
    if not checkpointing and fitting < micro and fitting * 4 < batch_size:
        larger = _halve_until(lambda size: estimate(size, True, 1), micro, limit, lambda one: one.train)
        if larger > fitting:
            return larger, True
    return fitting, checkpointing


def _sentence(chosen: dict[str, Any], estimate: MemoryEstimate, limit: int, batch: int) -> str:
    parts = []
    if "train.micro_batch" in chosen:
        parts.append(f"micro-batches of {chosen['train.micro_batch']} for batches of {batch}")
        if chosen["train.gradient_checkpointing"]:
            parts.append("gradient checkpointing")
    parts.append(f"{chosen['predict.batch_size']} items predicted at once")
    return (
        f"To fit {limit / GIGABYTE:.2f} GB: {', '.join(parts)}; "
        f"{estimate.total_bytes / GIGABYTE:.2f} GB are predicted."
    )


def _halve_until(
    at: Callable[[int], MemoryEstimate], size: int, limit: int, part: Callable[[MemoryEstimate], Peak | None]
) -> int:
    """The first of size, size/2, size/4, ... items that fits; 0: none does."""
    items = size
    while True:
        estimate = at(items)
        peak = part(estimate)
        assert peak is not None
        tensors = peak.tensors_bytes
        if tensors + estimate.overhead.total_bytes(tensors) <= limit:
            return items
        grows = (peak.activations + peak.logits + peak.cache + peak.temporary) / items
        fixed = tensors - grows * items
        while items > 1:
            items = -(-items // 2)
            guess = round(fixed + grows * items)
            if guess + estimate.overhead.total_bytes(guess) <= limit:
                break
        else:
            return 0
        if items == 1 and guess + estimate.overhead.total_bytes(guess) > limit:
            # an estimate from above: simulate a single item before giving up
            last = part(at(1))
            assert last is not None
            return int(last.tensors_bytes + estimate.overhead.total_bytes(last.tensors_bytes) <= limit)


def _workload(context: ArmContext, device: str) -> "Workload":
    """Where the arm runs, and the lengths of its longest items."""
    from tuneproof.memory.simulate_step import Workload

    study, arm, splits, settings = context.study, context.arm, context.splits, context.recipe.train
    epochs = arm.options.epochs if isinstance(arm.options, TunedOptions) else None
    evaluations = (epochs or settings.epochs or DEFAULT_EPOCHS) * settings.evals_per_epoch
    held_out = ("dev", splits.dev), ("test", splits.test)
    parts = ((study.train_name, splits.train), *held_out)
    answer_tokens, rows = 1, []
    words = arm.method.kind == "prompt" or trains_words(arm.options)
    generates = words and study.kind == "questions"
    lengths: dict[str, int] = {}
    if generates:
        shots = shots_of(study, arm, context.seed)
        questions = question_format(study, context.spec, shots)
        answer_tokens = questions.answer_tokens
        for name, part in parts:
            lengths[name], prompts = _longest_questions(questions, part)
            rows += prompts
    elif words:
        shots = shots_of(study, arm, context.seed)
        for name, part in parts:
            lengths[name], tokens, prompts = _longest_prompt(context, shots, name, part)
            answer_tokens = max(answer_tokens, tokens)
            rows += prompts
    else:
        for name, part in parts:
            lengths[name] = int(context.spec.encode(name, part, study.recipe.encode).tokens_N.max())
    features = arm.method.apply is None and arm.method.kind == "tuned"
    reads_train = features or last_layers(arm.options) is not None
    return Workload(
        device=device,
        precision=context.compute.precision,  # type: ignore[arg-type]
        length=lengths[study.train_name],
        predict_length=max(lengths[name] for name, _ in (parts if reads_train else held_out)),
        attention_length=context.compute.longest,
        unfused=context.compute.deterministic,
        labels=len(splits.labels),
        answer_tokens=answer_tokens,
        shared_tokens=common_prefix_of_all(rows) if words else 0,
        generates=generates,
        keeps_best_weights=evaluations > 1 or arm.method.fits_head,
    )


def _longest_questions(
    questions: QuestionFormat, part: Sequence[Example]
) -> tuple[int, list[NDArray[np.int64]]]:
    """Tokens of the longest question's prompt with its gold answer, and the longest questions' prompts."""
    longest = sorted(part, key=lambda example: -len(example.text))[:LONG_QUESTIONS]
    golds, encoded = encode_gold_answers(questions, longest)
    return int(golds.tokens_N.max()), list(encoded.prompts.contexts)


def _longest_prompt(
    context: ArmContext, shots: Sequence[Example], name: str, part: Sequence[Example]
) -> tuple[int, int, list[NDArray[np.int64]]]:
    """Tokens of the longest prompt with its words, of the longest words, and the longest texts' prompts."""
    spec, study, settings = context.spec, context.study, context.recipe.encode
    lengths_N = spec.encode(name, part, settings).untruncated_N
    longest = [part[int(i)] for i in np.argsort(-lengths_N)[:LONG_ITEMS]]
    if spec.family.kind == "encoder":
        cloze = encode_label_cloze(study, spec, longest)
        return int(cloze.tokens_N.max()), 1, []
    prompts = encode_label_prompts(study, spec, longest, shots)
    words = max(len(tokens) for label_words in prompts.continuations for tokens in label_words)
    return int(prompts.tokens_N.max()), words, list(prompts.contexts)
