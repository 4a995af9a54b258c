"""A model folder opened in one call, for tests.

In: a folder, which head. Out: model, tokenizer, configuration, family.
Knows nothing of: tasks, methods.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneproof.families import Family, family_of
from tuneproof.families.models import resolve_model
from tuneproof.models.checkpoint_files import read_config, read_tokenizer_with_notes
from tuneproof.models.load import load_model

SHARED = Path(__file__).parents[1].parent / "shared"


@dataclass(frozen=True)
class Opened:
    """Everything that a test asks of a model."""

    model: Any
    tokenizer: Any
    config: Any
    family: Family
    fresh: tuple[str, ...]
    notes: tuple[str, ...]


def open_model(folder: Path, head: Any, labels: Sequence[str] = (), seed: int | None = None) -> Opened:
    """Read, check and load, as an arm does."""
    source = resolve_model(folder)
    config = read_config(source)
    family = family_of(config)
    tokenizer = read_tokenizer_with_notes(source, config, family)[0]
    loaded = load_model(source, config, tokenizer, family, head=head, labels=labels, seed=seed)
    return Opened(loaded.model, tokenizer, config, family, loaded.fresh, loaded.notes)
