"""Unkind data with a known truth: uneven and few groups, repeated texts, calibration, late choices.

In: the number of studies. Out: rows for `simulate_statistics`.
Knows nothing of: models, real data.

Groups are those of an own file with a user, a template or a text in common: one holds 40 % of the items,
there are three to ten of them, or a text stands in it up to 120 times and all copies are answered alike.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks.simulated_arms import World, draw_arms
from benchmarks.simulation_rows import BARS, Row
from tuneproof.inference.prediction import Predictions
from tuneproof.score.compare import adjust, compare
from tuneproof.score.scores import score
from tuneproof.score.verdict import Comparison
from tuneproof.settings import ScoreSettings

CORRELATION = 0.3  # of the latent difficulty within a group
SHARED = 0.7  # of the difficulty, between the arms


def uneven(groups: int, largest: float, items: int) -> np.ndarray:
    """Sizes of groups, the first with this share of the items."""
    first = int(largest * items)
    return np.array([first, *[(items - first) // (groups - 1)] * (groups - 1)])


def repeated(distinct: int, most: int, slope: float) -> np.ndarray:
    """How often each of the distinct texts occurs: the k-th most / k^slope times, and at least once."""
    return np.maximum((most / np.arange(1, distinct + 1) ** slope).astype(int), 1)


def draw_grouped(
    sizes: np.ndarray, accuracies: Sequence[float], correlation: float, rng: np.random.Generator
) -> list[list[Predictions]]:
    """One run for each accuracy, on groups of these sizes with this correlation within."""
    from scipy.special import ndtri

    group_N = np.repeat(np.arange(len(sizes)), sizes)
    n = len(group_N)
    ids, groups = [str(i) for i in range(n)], [str(group) for group in group_N]
    gold_N, tokens_N = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)

    def difficulty() -> np.ndarray:
        own_N = np.sqrt(1 - correlation) * rng.standard_normal(n)
        return np.sqrt(correlation) * rng.standard_normal(len(sizes))[group_N] + own_N

    shared_N = np.sqrt(SHARED) * difficulty()
    arms = []
    for accuracy in accuracies:
        wrong_N = shared_N + np.sqrt(1 - SHARED) * difficulty() >= ndtri(accuracy)
        wrong = wrong_N.astype(np.int64)
        arms.append(
            [Predictions(("no", "yes"), ids, groups, gold_N, wrong, tokens_N, np.zeros(n, dtype=bool))]
        )
    return arms


def on_groups(
    name: str, sizes: np.ndarray, correlation: float, studies: int, settings: ScoreSettings
) -> list[Row]:
    """Coverage of a score and of a difference, and false claims, on groups of these sizes."""
    accuracy = 0.8
    world = World(int(sizes.sum()), accuracy, clustered=True)
    rng = np.random.default_rng([studies, len(sizes), world.n])
    hits: dict[str, list[bool]] = {"score": [], "no gap": [], "claims": []}
    noted = []
    for _ in range(studies):
        arm, same = draw_grouped(sizes, (accuracy, accuracy), correlation, rng)
        result = score(arm, ["accuracy"], settings, True)["accuracy"]
        null = compare(arm, same, "accuracy", "arm", "same", settings, True)
        hits["score"].append(result.low <= accuracy <= result.high)
        hits["no gap"].append(null.low <= 0 <= null.high)
        hits["claims"].append(null.outcome != "cannot tell")
        noted.append(bool(result.note))
    warned = float(np.mean(noted)) >= 0.5
    bars = BARS if correlation < 1 else {**BARS, "score": (0.93, 0.99), "no gap": (0.93, 0.99)}
    return [
        Row(world, f"{name}: {kind}", float(np.mean(values)), *bars[kind], studies, warned)
        for kind, values in hits.items()
    ]


def power_on_groups(
    name: str, sizes: np.ndarray, correlation: float, studies: int, settings: ScoreSettings
) -> list[Row]:
    """Share of studies on groups that show the smallest detectable difference (as `power_of_mde`)."""
    accuracy = 0.8
    rng = np.random.default_rng([studies, len(sizes), int(sizes.sum()), 1])

    def studied(gap: float, count: int) -> list[Comparison]:
        pairs = [draw_grouped(sizes, (accuracy, accuracy - gap), correlation, rng) for _ in range(count)]
        return [compare(*pair, "accuracy", "arm", "over", settings, True) for pair in pairs]

    gap = 0.0
    for count in (100, 300, 300):
        gap = float(np.sqrt(np.mean([comparison.mde**2 for comparison in studied(gap, count)])))
    shown = [comparison.outcome == "better" for comparison in studied(gap, studies)]
    world = World(int(sizes.sum()), accuracy, clustered=True, gap=gap)
    return [Row(world, f"{name}: power", float(np.mean(shown)), 0.77, 0.83, studies, False)]


def calibrated(shift: float, n: int, studies: int, settings: ScoreSettings) -> list[Row]:
    """Coverage of the calibration error of an arm that is `shift` too confident."""
    rng, hits = np.random.default_rng([studies, n, int(1000 * shift)]), []
    ids, tokens_N, truncated_N = (
        [str(i) for i in range(n)],
        np.ones(n, dtype=np.int64),
        np.zeros(n, dtype=bool),
    )
    for _ in range(studies):
        sure_N = 0.5 + 0.5 * rng.beta(6, 1.5, n)
        gold_N = (rng.random(n) >= sure_N - shift).astype(np.int64)
        probabilities_NC = np.stack([sure_N, 1 - sure_N], axis=1)
        zeros_N = np.zeros(n, dtype=np.int64)
        run = Predictions(("a", "b"), ids, ids, gold_N, zeros_N, tokens_N, truncated_N, probabilities_NC)
        name = "expected_calibration_error"
        error = score([run], [name], settings, False)[name]
        hits.append(error.low <= shift <= error.high)
    world = World(n, 0.9, gap=shift)
    return [Row(world, "calibration", float(np.mean(hits)), 0.93, 1.0, studies, False)]


def claim_swapped(arms: int, studies: int, settings: ScoreSettings) -> list[Row]:
    """Share of studies in which the best of equal arms is claimed afterwards, corrected as in the report."""
    rng, world = np.random.default_rng([studies, arms, 7]), World(500, 0.8)
    shown = []
    for _ in range(studies):
        base, *others = draw_arms(world, [world.accuracy] * (arms + 1), rng)
        pairs = [compare(arm, base, "accuracy", "arm", "base", settings, False) for arm in others]
        best = max(pairs, key=lambda pair: pair.difference)
        shown.append(adjust([best], len(pairs))[0].outcome != "cannot tell")
    return [Row(world, f"best of {arms}", float(np.mean(shown)), 0.0, 0.05, studies, False)]


def seeds_added(world: World, studies: int, settings: ScoreSettings) -> list[Row]:
    """Share of studies of equal arms that show a difference with 3 seeds or, added after that, 5, 8 or 10."""
    rng, shown = np.random.default_rng([studies, int(1000 * world.seed_sd)]), []
    for _ in range(studies):
        arm, over = draw_arms(world, (world.accuracy, world.accuracy), rng)
        looks = [
            adjust([compare(arm[:seeds], over[:seeds], "accuracy", "arm", "over", settings, False)], None, k)
            for k, seeds in enumerate((3, 5, 8, 10))
        ]
        shown.append(any(look[0].outcome != "cannot tell" for look in looks))
    return [Row(world, "seeds added", float(np.mean(shown)), 0.0, 0.05, studies, False)]


def unkind_cells(short: bool, settings: ScoreSettings) -> list[Callable[[int], list[Row]]]:
    """The settings, each as a function of the number of studies."""
    groups = [
        ("one group of 40 %", uneven(30, 0.4, 600), CORRELATION),
        ("5 groups", np.full(5, 60), CORRELATION),
        ("repeated, 28 % distinct", repeated(200, 60, 0.7), 1.0),
    ]
    if not short:
        groups += [
            ("one group of 20 %", uneven(30, 0.2, 600), CORRELATION),
            ("3 groups", np.full(3, 100), CORRELATION),
            ("10 groups", np.full(10, 40), CORRELATION),
            ("repeated, 90 % distinct", repeated(435, 20, 1.0), 1.0),
            ("repeated, 56 % distinct", repeated(330, 100, 1.2), 1.0),
            ("repeated, 10 % distinct", repeated(65, 120, 0.9), 1.0),
        ]
    cells: list[Callable[[int], list[Row]]] = [
        partial(on_groups, name, sizes, correlation, settings=settings) for name, sizes, correlation in groups
    ]
    cells += [
        partial(power_on_groups, name, sizes, correlation, settings=settings)
        for name, sizes, correlation in groups
        if correlation < 1 and len(sizes) >= 5
    ]
    shifts = (
        [(0.0, 200), (0.1, 200)]
        if short
        else [(s, n) for s in (0.0, 0.03, 0.1) for n in (50, 200, 1000, 5000)]
    )
    cells += [partial(calibrated, shift, n, settings=settings) for shift, n in shifts]
    added = [World(872, 0.85, seeds=10, seed_sd=sd) for sd in ((0.01,) if short else (0.005, 0.01, 0.02))]
    cells += [partial(seeds_added, world, settings=settings) for world in added]
    return cells + [partial(claim_swapped, arms, settings=settings) for arms in ((8,) if short else (3, 8))]
