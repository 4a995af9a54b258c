"""Runs a benchmark by name, or lists them.

In: a name and its options. Out: what the benchmark prints. Knows nothing of: what is measured.

    python -m benchmarks [NAME [OPTIONS]]
"""

import sys
from collections.abc import Callable, Sequence

from benchmarks import (
    chaos,
    encoder_finetuning,
    memory_prediction,
    reliability,
    simulate_statistics,
)

BENCHMARKS: dict[str, Callable[[Sequence[str] | None], int]] = {
    "chaos": chaos.main,
    "encoder": encoder_finetuning.main,
    "memory": memory_prediction.main,
    "reliability": reliability.main,
    "statistics": simulate_statistics.main,
}


def main(words: Sequence[str]) -> int:
    """The exit code of the benchmark that the first word names; without a word, their names."""
    if not words:
        print("\n".join(BENCHMARKS))
        return 0
    if words[0] not in BENCHMARKS:
        print(f"{words[0]} is not a benchmark. Allowed: {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    return BENCHMARKS[words[0]](list(words[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
