"""How fast an arm predicts with what it has loaded: one item at a time, and in batches.

In: a function that predicts, dev items, seconds to spend. Out: the entry `serving` of arm.json.
Knows nothing of: models, how an arm predicts, prices.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import count
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.context.arm_context import ArmContext
from tuneproof.context.monitor import Monitor
from tuneproof.errors import TuneproofError
from tuneproof.tasks.task import Example

Predict = Callable[[Sequence[Example]], Any]
Serve = Callable[[int], Predict]
WARM_UP_CALLS = 3
MAX_CALLS = 200
PASSES, LEAST_PASSES = 5, 3  # of the best size; the least may exceed the time if one pass does not
STEP = 4  # between two sizes of a batch
PERCENTILES = (50, 95, 99)
TOO_SLOW = "one item took {:.3g} s, and an arm is timed for {:.3g} s at most (predict.timing_s)"


@dataclass(frozen=True)
class Timing:
    """How an arm is timed. seconds: to spend, at most. largest: items in a batch, at most.

    items_per_s: at which it predicted dev and test, by which the time of a batch is guessed; None: not known.
    """

    seconds: float
    largest: int
    items_per_s: float | None = None

    def guess_s(self, latency_s: float) -> float:
        """Seconds of an item in a batch, before one is timed."""
        return min(latency_s, 1 / self.items_per_s if self.items_per_s else inf)


def time_serving(
    serve: Callable[[int], Predict], examples: Sequence[Example], timing: Timing
) -> dict[str, Any]:
    """Latency of single items, and the rate at the best size of a batch, after a warm-up.

    serve: the size of a batch → a function that predicts items. examples: of dev, each in a batch once, as
    equal prompts would be read once.

    Keys: latency_s {p50, p95, p99 (of enough calls), mean, calls}, items_per_s {size of a batch:
    rate}, batch_size (the best), item_s (seconds an item in each timed batch of the best size), reason (why
    nothing was timed).
    """
    try:
        return _time(serve, examples, timing)
    except (TuneproofError, RuntimeError, MemoryError) as error:  # the arm's predictions are made already
        return {"reason": f"{type(error).__name__} while it was timed"}


def _time(serve: Callable[[int], Predict], examples: Sequence[Example], timing: Timing) -> dict[str, Any]:
    clock = _Clock(examples, time.perf_counter() + timing.seconds)
    single = serve(1)
    first_s = clock.call(single, 1)
    if first_s > timing.seconds / 2:
        return {"reason": TOO_SLOW.format(first_s, timing.seconds)}
    for _ in range(WARM_UP_CALLS - 1):
        clock.call(single, 1)
    latency_N = np.array(list(clock.calls(single, timing.seconds / 2)))
    predictors, passes = (
        {1: single},
        {1: [float(part.mean()) for part in np.array_split(latency_N, min(PASSES, len(latency_N)))]},
    )
    guess_s = timing.guess_s(float(latency_N.mean()))
    for size in _sizes(min(timing.largest, len(examples))):
        if not clock.has_time_for(2 * size * guess_s):  # one call warms up, one is timed
            continue
        predictors[size] = serve(size)
        clock.call(predictors[size], size)
        passes[size] = [clock.call(predictors[size], size) / size]
        if passes[size] > min(passes.values()):  # smaller batches are slower still
            break
    best = min(passes, key=lambda size: passes[size][0])
    while len(passes[best]) < PASSES and (
        clock.has_time_for(2 * best * passes[best][0])
        or (len(passes[best]) < LEAST_PASSES and best * passes[best][0] <= timing.seconds)
    ):
        passes[best].append(clock.call(predictors[best], best) / best)
    return {
        "latency_s": _latency(latency_N),
        "items_per_s": {str(size): len(item_s) / sum(item_s) for size, item_s in sorted(passes.items())},
        "batch_size": best,
        "item_s": passes[best],
        "reason": None,
    }


def serving_entry(
    single_s: Sequence[float], batch_s: Sequence[float], batch_size: int
) -> dict[str, Any] | None:
    """The same entry from seconds of calls that a system took itself; None without any."""
    if len(single_s) <= WARM_UP_CALLS or not batch_s:
        return None
    item_s = [seconds / batch_size for seconds in batch_s]
    latency_N = np.array(single_s[WARM_UP_CALLS:])
    rates = {1: float(1 / latency_N.mean()), batch_size: len(item_s) / sum(item_s)}
    best = max(rates, key=lambda size: rates[size])
    parts = np.array_split(np.array(item_s if best == batch_size else latency_N), PASSES)
    return {
        "latency_s": _latency(latency_N),
        "items_per_s": {str(size): rate for size, rate in sorted(rates.items())},
        "batch_size": best,
        "item_s": [float(part.mean()) for part in parts if len(part)],
        "reason": None,
    }


def _latency(latency_N: NDArray[np.float64]) -> dict[str, float]:
    """The percentiles that so many calls can show, the mean, and the number of calls."""
    shares = [
        share for share in PERCENTILES if len(latency_N) * (100 - share) >= 100 or share == PERCENTILES[0]
    ]
    values = np.percentile(latency_N, shares).tolist()
    percentiles = {f"p{share}": value for share, value in zip(shares, values, strict=True)}
    return {**percentiles, "mean": float(latency_N.mean()), "calls": len(latency_N)}


def _sizes(largest: int) -> Iterator[int]:
    """Sizes of a batch, the largest first and each STEP times the next, above one."""
    while largest > 1:
        yield largest
        largest //= STEP


class _Clock:
    """Times calls with the next items in turn, until a deadline."""

    def __init__(self, examples: Sequence[Example], deadline: float) -> None:
        self.examples, self.deadline, self._next = examples, deadline, 0

    def call(self, predict: Predict, size: int) -> float:
        """The seconds of one call."""
        rows = [self.examples[(self._next + i) % len(self.examples)] for i in range(size)]
        self._next += size
        started = time.perf_counter()
        predict(rows)
        return time.perf_counter() - started

    def calls(self, predict: Predict, seconds: float) -> Iterator[float]:
        """The seconds of at most MAX_CALLS calls, as long as time is left; of one at least."""
        end = min(time.perf_counter() + seconds, self.deadline)
        for number in range(MAX_CALLS):
            if number and time.perf_counter() > end:
                return
            yield self.call(predict, 1)

    def has_time_for(self, seconds: float) -> bool:
        """Whether so many seconds are left."""
        return time.perf_counter() + seconds < self.deadline


def serve_with(
    context: ArmContext,
    predict: Callable[[ArmContext], Callable[[Sequence[Example], str], Any]],
    around: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Callable[[int], Predict]:
    """The size of a batch → a function that predicts items as the arm did, without its logs and caches.

    predict: the arm's context → a function of items and of the name of their part. around: what surrounds
    each call.
    """
    names = (f"timed {number}" for number in count())  # tokens are kept by the name of a part

    def serve(size: int) -> Predict:
        predict_part = predict(_for_timing(context, size))

        def call(examples: Sequence[Example]) -> Any:
            with around():
                return predict_part(examples, next(names))

        return call

    return serve


def _for_timing(context: ArmContext, size: int) -> ArmContext:
    recipe = context.recipe
    predict = recipe.predict.model_copy(update={"batch_size": size})
    study = replace(context.study, recipe=recipe.model_copy(update={"predict": predict}))
    spec = replace(context.spec, _encoded={})
    return replace(context, study=study, spec=spec, monitor=Monitor(), checkpoints=None, resume_logs=None)
