"""Proves the statistics: studies with a known truth, scored and compared by the package's functions.

In: the number of studies. Out: a table of coverage, false claims and power.
Knows nothing of: models, real data.

    python -m benchmarks.simulate_statistics [--short] [--studies N] [--out FILE]

What is simulated. Every item has a hidden difficulty, shared by the arms to seven tenths, partly by
its cluster (clusters of about five items, latent correlation 0.3) and, with several seeds, by a
tenth its own for each seed; an arm is right where it lies below the arm's accuracy. Every seed has
its own true accuracy, normal about the arm's. What is asked, at a level of 95 %:

- do intervals of scores and of differences hold the truth in 93 to 97 % of the studies?
- are two arms of equal true accuracy called better or worse in at most 5 %?
- do arms as far apart as the smallest detectable difference show it in 77 to 83 %, also as one claim of many?
- is the first of several equal arms on a leaderboard called better than another in at most 5 %?
- do they hold on unkind data (`simulate_unkind_data`)?

A share outside its bar is settled by four times as many new studies. A setting in which the package
itself warns (fewer than 20 groups, 5 expected errors, or 10 items on
which the arms differ) is printed as warned and held to "at least 90 %" only.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.simulate_unkind_data import unkind_cells
from benchmarks.simulated_arms import World, draw_arms, true_value
from benchmarks.simulation_rows import BARS, Row
from tuneproof.atomic import write_text
from tuneproof.inference.prediction import Predictions
from tuneproof.score.compare import adjust, compare
from tuneproof.score.power import smallest_detectable_mcnemar
from tuneproof.score.scores import score
from tuneproof.score.verdict import Comparison
from tuneproof.settings import ScoreSettings


def _share(hits: Sequence[bool]) -> float:
    return float(np.mean(hits))


def coverage(world: World, kinds: Sequence[str], studies: int, settings: ScoreSettings) -> list[Row]:
    """Coverage of scores and differences and false claims between equal arms, of these `kinds`."""
    where = [world.n, int(1000 * world.accuracy), world.clustered, world.seeds]
    rng = np.random.default_rng([studies, *where])
    lower = world.accuracy - world.gap
    truth = true_value(world, world.accuracy)
    gap = truth - true_value(world, lower)
    hits: dict[str, list[bool]] = {kind: [] for kind in kinds}
    notes: dict[str, list[bool]] = {kind: [] for kind in kinds}

    def take(kind: str, hit: bool, note: str) -> None:
        if kind in hits:
            hits[kind].append(hit)
            notes[kind].append(bool(note))

    for _ in range(studies):
        arm, same, lower_arm = draw_arms(world, (world.accuracy, world.accuracy, lower), rng)
        if "score" in hits:
            result = score(arm, [world.metric], settings, world.clustered)[world.metric]
            take("score", result.low <= truth <= result.high, result.note)
        if "no gap" in hits or "claims" in hits:
            null = compare(arm, same, world.metric, "arm", "same", settings, world.clustered)
            take("no gap", null.low <= 0 <= null.high, null.note)
            take("claims", null.outcome != "cannot tell", null.note)
        if "gap" in hits:
            real = compare(arm, lower_arm, world.metric, "arm", "other", settings, world.clustered)
            take("gap", real.low <= gap <= real.high, real.note)
    return [
        Row(world, kind, _share(hits[kind]), *BARS[kind], studies, _share(notes[kind]) >= 0.5)
        for kind in kinds
    ]


def power_mcnemar(n: int, discordance: float, studies: int, settings: ScoreSettings) -> list[Row]:
    """Share of studies that show the smallest detectable difference, single items, one seed."""
    gap = smallest_detectable_mcnemar(n, discordance, settings.level, settings.power)
    discordance = max(discordance, gap)
    rng = np.random.default_rng([studies, n, int(1000 * discordance)])
    favour, against = (discordance + gap) / 2, (discordance - gap) / 2
    ids, gold_N = [str(i) for i in range(n)], np.zeros(n, dtype=np.int64)
    tokens_N, truncated_N = np.ones(n, dtype=np.int64), np.zeros(n, dtype=bool)

    def run(wrong_N: np.ndarray) -> list[Predictions]:
        predicted_N = wrong_N.astype(np.int64)
        return [Predictions(("no", "yes"), ids, ids, gold_N, predicted_N, tokens_N, truncated_N)]

    detected = []
    for _ in range(studies):
        cell_N = rng.choice(4, size=n, p=[favour, against, 0.05, 0.95 - favour - against])
        wrong_arm_N, wrong_over_N = np.isin(cell_N, (1, 2)), np.isin(cell_N, (0, 2))
        result = compare(run(wrong_arm_N), run(wrong_over_N), "accuracy", "a", "b", settings, False)
        detected.append(result.outcome == "better")
    world = World(n, 0.95 - discordance / 2, gap=gap)
    return [Row(world, f"power {discordance:.2f}", _share(detected), 0.77, 0.83, studies, False)]


def power_of_mde(world: World, studies: int, settings: ScoreSettings) -> list[Row]:
    """The same for grouped items or several seeds.

    The gap is the root mean square of what pilot studies at that gap call detectable, for what a
    study calls detectable varies with its own discordance and seeds.
    """
    rng = np.random.default_rng([studies, world.n, world.clustered, world.seeds])

    def studied(gap: float, count: int) -> list[Comparison]:
        result = []
        for _ in range(count):
            arm, over = draw_arms(world, (world.accuracy, world.accuracy - gap), rng)
            result.append(compare(arm, over, world.metric, "arm", "over", settings, world.clustered))
        return result

    gap = 0.0
    for count in (100, 300):
        gap = float(np.sqrt(np.mean([comparison.mde**2 for comparison in studied(gap, count)])))
    detected = [comparison.outcome == "better" for comparison in studied(gap, studies)]
    return [Row(replace(world, gap=gap), "power", _share(detected), 0.77, 0.83, studies, False)]


def power_of_claims(claims: int, world: World, studies: int, settings: ScoreSettings) -> list[Row]:
    """Share of studies that show one claim at its corrected MDE beside claims on equal arms."""
    rng = np.random.default_rng([studies, claims, world.n, world.seeds])

    def studied(gap: float, count: int) -> list[Comparison]:
        result = []
        for _ in range(count):
            accuracies = [world.accuracy, world.accuracy - gap, *[world.accuracy] * (claims - 1)]
            arm, *others = draw_arms(world, accuracies, rng)
            pairs = [
                compare(arm, over, world.metric, "arm", f"over {i}", settings, False)
                for i, over in enumerate(others)
            ]
            result.append(adjust(pairs)[0])
        return result

    gap = 0.0
    for count in (50, 150):
        gap = float(np.sqrt(np.mean([comparison.mde**2 for comparison in studied(gap, count)])))
    detected = [comparison.outcome == "better" for comparison in studied(gap, studies)]
    return [
        Row(replace(world, gap=gap), f"power of 1 in {claims}", _share(detected), 0.77, 0.83, studies, False)
    ]


def false_boards(entries: int, studies: int, settings: ScoreSettings) -> list[Row]:
    """Share of leaderboards of equal arms on which the first is called better than another."""
    rng, world = np.random.default_rng([studies, entries]), World(500, 0.8)
    shown = []
    for _ in range(studies):
        arms = sorted(
            draw_arms(world, [world.accuracy] * entries, rng),
            key=lambda runs: -float(np.mean(runs[0].right_N)),
        )
        pairs = [
            compare(arms[0], over, world.metric, "first", f"other {i}", settings, False)
            for i, over in enumerate(arms[1:])
        ]
        corrected = adjust(pairs, entries * (entries - 1) // 2)
        shown.append(any(pair.outcome != "cannot tell" for pair in corrected))
    return [Row(world, f"board of {entries}", _share(shown), 0.0, 0.05, studies, False)]


def lone_run(world: World, studies: int, settings: ScoreSettings) -> list[Row]:
    """Share of studies in which several runs are called better or worse than one run of an equal arm."""
    rng, shown = np.random.default_rng([studies, world.seeds]), []
    for _ in range(studies):
        arm, other = draw_arms(world, (world.accuracy, world.accuracy), rng)
        names = "arm", "other"
        pair = compare(arm, other[:1], world.metric, *names, settings, False, with_chance=(True, True))
        shown.append(pair.outcome != "cannot tell")
    return [Row(world, "lone run", _share(shown), 0.0, 0.05, studies, False)]


def worse_by_the_margin(world: World, studies: int, settings: ScoreSettings) -> list[Row]:
    """Share of studies that call an arm as good as another although it is worse by the margin, the gap."""
    rng, shown = np.random.default_rng([studies, world.n, world.seeds]), []
    for _ in range(studies):
        arm, over = draw_arms(world, (world.accuracy - world.gap, world.accuracy), rng)
        compared = compare(arm, over, world.metric, "arm", "over", settings, False)
        judged = adjust([replace(compared, margin=world.gap)])[0]
        shown.append(judged.margin_outcome in ("as good either way", "as good or better"))
    return [Row(world, "as good", _share(shown), 0.0, 0.05, studies, False)]


def worlds(short: bool) -> list[World]:
    """The settings: a grid of items, accuracy, grouping and seeds, and some others beside it."""
    sizes, accuracies = ((50, 200, 500, 2000), (0.5, 0.8, 0.95, 0.99))
    if short:
        sizes, accuracies = (50, 400), (0.5, 0.9)
    grid = [
        World(n, accuracy, clustered, seeds, gap=0.03 if accuracy < 0.99 else 0.01)
        for n, accuracy, clustered, seeds in product(sizes, accuracies, (False, True), (1, 3))
    ]
    if short:
        return grid
    return [
        *grid,
        *(World(872, 0.9, False, 3, gap=0.03, seed_sd=sd) for sd in (0.0, 0.005, 0.02)),
        World(872, 0.8, False, 3, gap=0.03, seed_sd=0.04),
        *(World(872, 0.9, True, seeds, gap=0.03) for seeds in (2, 5, 10)),
        *(
            World(n, accuracy, clustered, 1, gap=0.03, metric=metric, positive=0.3)
            for n in (200, 1000)
            for accuracy in (0.8, 0.95)
            for clustered in (False, True)
            for metric in ("f1", "f1_macro")
        ),
    ]


def simulate(short: bool, studies: int, say: Callable[[str], object], settle: bool = True) -> list[Row]:
    """Every row of the table; `say` is given each as it comes; `settle`: what is outside its bar is
    studied again at four times the length."""
    settings = ScoreSettings()
    rows: list[Row] = []

    def open_in(result: Sequence[Row]) -> list[str]:
        return [row.what for row in result if row.verdict not in ("ok", "warned")]

    def add(result: list[Row], again: Callable[[list[str]], list[Row]]) -> None:
        left = open_in(result) if settle else []
        settled = {row.what: row for row in again(left)} if left else {}
        result = [settled.get(row.what, row) for row in result]
        rows.extend(result)
        for row in result:
            say(str(row))

    for world in worlds(short):
        add(
            coverage(world, tuple(BARS), studies, settings),
            partial(coverage, world, studies=4 * studies, settings=settings),
        )
    tables = [(200, 0.1), (872, 0.06)] if short else list(product((200, 872, 2000), (0.03, 0.1, 0.2)))
    for n, discordance in tables:
        power = partial(power_mcnemar, n, discordance, settings=settings)
        add(power(studies), lambda _, power=power: power(4 * studies))
    others = [World(500, 0.85, True, 1)]
    if not short:
        others += [World(2000, 0.9, True, 1), World(872, 0.9, False, 3), World(872, 0.9, True, 3)]
        others += [World(872, 0.9, False, 5, seed_sd=0.005), World(1000, 0.8, metric="f1_macro")]
    for world in others:
        power = partial(power_of_mde, world, settings=settings)
        add(power(studies), lambda _, power=power: power(4 * studies))
    for claims in (4,) if short else (2, 4, 10):
        power = partial(power_of_claims, claims, World(872, 0.85), settings=settings)
        add(power(studies), lambda _, power=power: power(4 * studies))
    for seeds in (5,) if short else (3, 5, 10):
        against_one = partial(lone_run, World(872, 0.8, seeds=seeds, seed_sd=0.02), settings=settings)
        add(against_one(studies), lambda _, again=against_one: again(4 * studies))
    for seeds in (3,) if short else (1, 3):
        at_margin = partial(worse_by_the_margin, World(872, 0.85, seeds=seeds, gap=0.03), settings=settings)
        add(at_margin(studies), lambda _, again=at_margin: again(4 * studies))
    for entries in (5,) if short else (5, 10, 20):
        boards = partial(false_boards, entries, settings=settings)
        add(boards(studies), lambda _, boards=boards: boards(4 * studies))
    for cell in unkind_cells(short, settings):
        add(cell(studies), lambda _, cell=cell: cell(4 * studies))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and the violations; 1 where there are any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="fewer settings and studies")
    parser.add_argument("--studies", type=int, help="studies a setting (default 1,000; short 300)")
    parser.add_argument("--out", type=Path, help="write the table to this file as well")
    options = parser.parse_args(arguments)
    started = time.process_time()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    rows = simulate(options.short, options.studies or (300 if options.short else 1000), say)
    by_verdict = {v: sum(row.verdict == v for row in rows) for v in {row.verdict for row in rows}}
    say(f"{len(rows)} rows: " + ", ".join(f"{n} {v}" for v, n in sorted(by_verdict.items())))
    claims = [row.share for row in rows if row.what == "claims"]
    say(f"equal arms called better or worse: {100 * float(np.mean(claims)):.1f} % over all settings")
    for row in rows:
        if row.verdict == "VIOLATION":
            say(f"VIOLATION {row}")
    say(f"{time.process_time() - started:.0f} s of one core")
    if options.out:
        write_text(options.out, "\n".join(lines) + "\n")
    return int(any(row.verdict == "VIOLATION" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
