"""An arm's peak memory before it runs, and the settings under which it fits.

In: what all arms share, one arm, a ready model, where to compute. Out: the same with what was chosen.
Knows nothing of: weights, how an arm is carried out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.context.audit_question_encoding import asking_of
from tuneproof.context.few_shot import shots_of
from tuneproof.context.model_spec import Compute, Ready
from tuneproof.context.study_data import Shared
from tuneproof.data.encode import encode_cloze, encode_prompts
from tuneproof.data.prefix_trie import common_start
from tuneproof.data.question_prompts import Asking, encode_gold_answers
from tuneproof.errors import RunError
from tuneproof.memory.estimate import CONTEXT_BYTES, Forecast, Peak
from tuneproof.memory.usage import free_bytes
from tuneproof.methods.layers import last_layers
from tuneproof.recipe.recipe import Arm
from tuneproof.settings import memory_bytes
from tuneproof.tasks.task import Example

if TYPE_CHECKING:
    from tuneproof.memory.simulate_step import Scene

LONG_ITEMS = 8  # of a part, whose prompts are put together to find the longest
LONG_QUESTIONS = 64  # the same, where characters alone tell which are long
GIGABYTE = 10**9


@dataclass(frozen=True)
class Foresight:
    """`shared` with the chosen settings in its recipe; the forecast under them (None: not asked for)."""

    shared: Shared
    forecast: Forecast | None = None
    limit_bytes: int = 0
    chosen: dict[str, Any] | None = None
    sentence: str = ""

    def record(self, peaks: dict[str, int], resident_bytes: int) -> dict[str, Any]:
        """What ledger.json says of memory: predicted beside measured. Empty without a forecast.

        peaks: as `peak_bytes` gives them; resident_bytes: what the process held before the arm. On a
        GPU the allocator's peak is of tensors alone, so that what comes on top is not compared.
        """
        if self.forecast is None:
            return {}
        on_gpu = self.forecast.terms.device == "cuda"
        measured = peaks["device"] if on_gpu else max(1, peaks["process"] - resident_bytes)
        predicted = self.forecast.peak.tensors_bytes if on_gpu else self.forecast.total_bytes
        return {
            "limit_bytes": self.limit_bytes,
            "predicted": self.forecast.as_json(),
            "settings": self.chosen,
            "predicted_bytes": predicted,
            "measured_bytes": measured,
            "measured_by": "the device's allocator"
            if on_gpu
            else "resident memory beside what was there before the arm",
            "error": predicted / measured - 1,
        }


def foresee(shared: Shared, arm: Arm, ready: Ready, compute: Compute, seed: int) -> Foresight:
    """Predict the arm's peak and choose what keeps it within `compute.memory`, where that is set.

    The asked effective batch stays. The asked micro-batch is taken where it fits, else halves of it
    down to a quarter of the batch, then gradient checkpointing if more items fit with it, then smaller
    micro-batches. What is predicted at once is halved until it fits.

    Raises: RunError where not even one item fits; ModelError as `play`.
    """
    from tuneproof.memory.simulate_step import Subject

    memory = shared.recipe.compute.memory
    if memory is None:
        return Foresight(shared)
    device = "cuda" if compute.device.type == "cuda" else "cpu"
    if memory == "auto":
        # a GPU's context is there by now
        limit = free_bytes(device) + (CONTEXT_BYTES if device == "cuda" else 0)
    else:
        limit = memory_bytes(memory, "compute.memory")
    subject = Subject(ready.source, ready.config, ready.family, arm.method, arm.options)
    scene = _scene(shared, arm, ready, compute, device, seed)

    def at(micro: int, recompute: bool, predicted: int) -> Forecast:
        now = replace(
            scene,
            micro_batch=micro,
            recompute=recompute,
            predict_batch=predicted,
            accumulates=micro < shared.recipe.train.batch_size,
        )
        return ready.foreseen(subject, now)

    return _within(shared, arm, ready, at, limit)


def _within(
    shared: Shared, arm: Arm, ready: Ready, at: Callable[[int, bool, int], Forecast], limit: int
) -> Foresight:
    train, asked = shared.recipe.train, shared.recipe.predict.batch_size
    micro = train.micro_batch or train.batch_size
    recompute, least = train.gradient_checkpointing, 0
    if arm.method.apply is not None:
        plain = _halved(lambda n: at(n, recompute, 1), micro, limit, lambda f: f.train)
        if not recompute and plain < micro and plain * 4 < train.batch_size:
            other = _halved(lambda n: at(n, True, 1), micro, limit, lambda f: f.train)
            recompute, plain = (True, other) if other > plain else (False, plain)
        least, micro = plain, max(1, plain)
    predicted = _halved(lambda n: at(micro, recompute, n), asked, limit, lambda f: f.predict)
    forecast = at(micro, recompute, max(1, predicted))
    if not predicted or (arm.method.apply is not None and not least):
        raise RunError(
            arm.name,
            f"{forecast.total_bytes / GIGABYTE:.2f} GB are predicted for one item at a time, and "
            f"{limit / GIGABYTE:.2f} GB are there.",
            f"`tuneproof fit {ready.source.path_or_id} --memory {limit}B` says what fits.",
            "Use another method or shorter texts, or leave compute.memory out to try all the same.",
        )
    chosen: dict[str, Any] = {"predict.batch_size": predicted}
    if arm.method.apply is not None:
        chosen |= {"train.micro_batch": micro, "train.gradient_checkpointing": recompute}
    settings = train.model_copy(
        update={"micro_batch": min(micro, train.batch_size), "gradient_checkpointing": recompute}
    )
    recipe = shared.recipe.model_copy(
        update={
            "train": settings if arm.method.apply is not None else train,
            "predict": shared.recipe.predict.model_copy(update={"batch_size": predicted}),
        }
    )
    as_asked = chosen == {
        name: value
        for name, value in {
            "predict.batch_size": asked,
            "train.micro_batch": train.micro_batch or train.batch_size,
            "train.gradient_checkpointing": train.gradient_checkpointing,
        }.items()
        if name in chosen
    }
    sentence = "" if as_asked else _sentence(chosen, forecast, limit, train.batch_size)
    return Foresight(replace(shared, recipe=recipe), forecast, limit, chosen, sentence)


def _sentence(chosen: dict[str, Any], forecast: Forecast, limit: int, batch: int) -> str:
    parts = []
    if "train.micro_batch" in chosen:
        parts.append(f"micro-batches of {chosen['train.micro_batch']} for batches of {batch}")
        if chosen["train.gradient_checkpointing"]:
            parts.append("gradient checkpointing")
    parts.append(f"{chosen['predict.batch_size']} items predicted at once")
    return (
        f"To fit {limit / GIGABYTE:.2f} GB: {', '.join(parts)}; "
        f"{forecast.total_bytes / GIGABYTE:.2f} GB are predicted."
    )


def _halved(
    at: Callable[[int], Forecast], asked: int, limit: int, part: Callable[[Forecast], Peak | None]
) -> int:
    """The first of asked, asked/2, asked/4, ... items that fits; 0: none does."""
    items = asked
    while True:
        forecast = at(items)
        peak = part(forecast)
        assert peak is not None
        tensors = peak.tensors_bytes
        if tensors + forecast.terms.on_top(tensors) <= limit:
            return items
        grows = (peak.activations + peak.logits + peak.cache + peak.temporary) / items
        fixed = tensors - grows * items
        while items > 1:
            items = -(-items // 2)
            guess = round(fixed + grows * items)
            if guess + forecast.terms.on_top(guess) <= limit:
                break
        else:
            return 0
        if items == 1 and guess + forecast.terms.on_top(guess) > limit:
            # an estimate from above: play the single item before giving up
            last = part(at(1))
            assert last is not None
            found = last.tensors_bytes
            return int(found + forecast.terms.on_top(found) <= limit)


def _scene(shared: Shared, arm: Arm, ready: Ready, compute: Compute, device: str, seed: int) -> "Scene":
    """Where the arm runs, and the lengths of its longest items."""
    from tuneproof.memory.simulate_step import Scene

    splits, settings = shared.splits, shared.recipe.train
    epochs = getattr(arm.options, "epochs", None) or settings.epochs
    held = ("dev", splits.dev), ("test", splits.test)
    parts = ((shared.train_name, splits.train), *held)
    answer, start = 1, 0
    words = arm.method.kind == "prompt" or getattr(arm.options, "objective", "head") == "words"
    writes = words and shared.kind == "questions"
    if writes:
        asking = asking_of(shared, arm, ready, seed)
        asked = {name: _longest_questions(asking, part) for name, part in parts}
        lengths = {name: length for name, (length, _) in asked.items()}
        answer = asking.answer_tokens
        start = common_start([row for _, rows in asked.values() for row in rows])
    elif words:
        shots = shots_of(shared, arm, seed)
        found = {name: _longest_prompt(shared, ready, shots, name, part) for name, part in parts}
        lengths = {name: length for name, (length, _, _) in found.items()}
        answer = max(tokens for _, tokens, _ in found.values())
        start = common_start([row for _, _, rows in found.values() for row in rows])
    else:
        lengths = {
            name: int(ready.encode(name, part, shared.recipe.encode).tokens_N.max()) for name, part in parts
        }
    features = arm.method.apply is None and arm.method.kind == "tuned"
    reads_train = features or last_layers(arm.options) is not None
    predicts = parts if reads_train else held
    return Scene(
        device=device,
        precision=compute.precision,  # type: ignore[arg-type]
        length=lengths[shared.train_name],
        predict_length=max(lengths[name] for name, _ in predicts),
        labels=len(splits.labels),
        answer_tokens=answer,
        start=start,
        writes=writes,
        keeps_best=epochs * settings.evals_per_epoch > 1 or arm.method.probe,
    )


def _longest_questions(asking: Asking, part: Sequence[Example]) -> tuple[int, list[NDArray[np.int64]]]:
    """Tokens of the longest question's prompt with its gold answer, and the longest questions' prompts."""
    longest = sorted(part, key=lambda example: -len(example.text))[:LONG_QUESTIONS]
    golds, found = encode_gold_answers(asking, longest)
    return int(golds.tokens_N.max()), found.asked.contexts


def _longest_prompt(
    shared: Shared, ready: Ready, shots: Sequence[Example], name: str, part: Sequence[Example]
) -> tuple[int, int, list[NDArray[np.int64]]]:
    """Tokens of the longest prompt with its words, of the longest words, and the longest texts' prompts."""
    settings = shared.recipe.encode
    lengths_N = ready.encode(name, part, settings).whole_N
    longest = [part[int(place)] for place in np.argsort(-lengths_N)[:LONG_ITEMS]]
    if ready.family.kind == "encoder":
        cloze = encode_cloze(
            ready.tokenizer, ready.family, shared.prompt, longest, ready.max_length, settings.truncate
        )
        return int(cloze.tokens_N.max()), 1, []
    asked = encode_prompts(
        ready.tokenizer,
        ready.family,
        shared.prompt,
        longest,
        shots,
        ready.max_length,
        settings.truncate,
        settings.chat,
    )
    words = max(len(way) for ways in asked.continuations for way in ways)
    return int(asked.tokens_N.max()), words, asked.contexts
