"""The shapes of a study's JSON files: what must stand under the keys that are read back.

In: a JSON file of a study. Out: its value; RunError that names the key, what stands there and what to do.
Knows nothing of: what the values mean, how they are shown.

A shape is a kind of value, a list of one shape, or an object of keys. A key may be missing or null unless
it ends in "!" (a value is needed) or in "?" (the key is needed). Entries of lists and of objects with any
key are never null. Other keys are not checked.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tuneproof.atomic import read_json
from tuneproof.errors import RunError

Shape = str | list[Any] | Mapping[str, Any]
NUMBER, WHOLE, COUNT, TEXT = "a number", "a whole number", "a whole number from 0", "text"
LIST, OBJECT, FLAG = "a list", "an object", "true or false"
REAL = "a number, or infinity where a step was skipped"
ANY = "*"
MISSING = object()
MAX_NUMBER = 1e300  # sums and squares of larger ones are not finite
MAX_SHORT = 40
FITS: dict[str, Callable[[Any], bool]] = {
    NUMBER: lambda v: type(v) in (int, float) and abs(v) < MAX_NUMBER,
    REAL: lambda v: type(v) in (int, float),
    WHOLE: lambda v: type(v) is int and abs(v) < MAX_NUMBER,
    COUNT: lambda v: type(v) is int and 0 <= v < MAX_NUMBER,
    TEXT: lambda v: isinstance(v, str),
    LIST: lambda v: isinstance(v, list),
    OBJECT: lambda v: isinstance(v, dict),
    FLAG: lambda v: isinstance(v, bool),
}


def _of(kind: Shape, *keys: str) -> dict[str, Shape]:
    return dict.fromkeys(keys, kind)


RUN = {**_of(TEXT, "arm!", "model"), **_of(WHOLE, "seed", "train_size")}
SCORE = {**_of(NUMBER, "value?", "low", "high", "n"), **_of(TEXT, "method", "note")}
SCORES = {ANY: SCORE}
PAIR = {
    **_of(TEXT, "arm!", "over!", "model", "over_model", "metric", "test", "outcome", "margin_outcome"),
    **_of(NUMBER, "difference", "low", "high", "p_value", "p_adjusted", "mde", "margin", "n"),
    **_of(NUMBER, "only_arm_right", "only_over_right"),
}
GAIN = {**PAIR, **_of(NUMBER, "difference!", "low!", "high!"), "outcome!": TEXT}
SAMPLE = {
    **_of(TEXT, "arm!", "model?", "metric!"),
    **_of(GAIN, "gain_from_full_train?", "gain_from_previous", "over_prompted"),
    "train_size!": WHOLE,
    "score!": SCORE,
}
AS_GOOD = {
    **_of(TEXT, "metric!", "best!"),
    **_of(NUMBER, "margin!", "dev_score!", "compared!"),
    "is_default!": FLAG,
    "arms!": [
        {
            **_of(TEXT, "name!", "arm!", "model", "outcome!", "under_trained!"),
            **_of(NUMBER, "difference", "low", "high", "level"),
        }
    ],
    "pairs": [GAIN],
}
TRIAL = {"settings!": OBJECT, **_of(WHOLE, "rung!", "steps!"), "dev_loss": NUMBER}
CHOSEN = {
    "evaluations": [_of(NUMBER, "step!", "epoch!", "dev_loss!")],
    "shots": [TEXT],
    "dev_loss": NUMBER,
    "answers": {"no_answer_threshold": NUMBER},
    "decision": {
        **_of(NUMBER, "threshold", "temperature", "dev_value", "dev_value_before"),
        **_of(TEXT, "positive", "metric", "by"),
        "applies": FLAG,
        "costs": [[NUMBER]],
    },
}
MEMORY = {
    **_of(NUMBER, "predicted_bytes!", "measured_bytes!", "error!", "limit_bytes?"),
    "measured_by?": TEXT,
    "settings?": OBJECT,
    "predicted!": {
        **_of({ANY: NUMBER}, "train?", "predict?"),
        "tensors_bytes!": NUMBER,
        "overhead!": {"description!": TEXT},
    },
}
ARCHITECTURE = {
    **_of(TEXT, "model_type!", "kind!", "family!"),
    **_of(WHOLE, "hidden_size?", "num_layers?", "num_heads?", "num_key_value_heads?", "head_dim?"),
    **_of(WHOLE, "intermediate_size?", "sliding_window?", "context_length?", "vocab_size?"),
    "attention!": [TEXT],
    "tied_embeddings?": FLAG,
}
PRETRAINED = {
    "groups!": {ANY: WHOLE, "head!": WHOLE},
    "architecture_class!": TEXT,
    "architecture!": ARCHITECTURE,
    "published?": {"count!": WHOLE, **_of(TEXT, "source!", "differs"), "digits": WHOLE},
}
DESIGN = {
    "claims!": [{**_of(TEXT, "arm!", "over!", "metric"), "margin": NUMBER}],
    **_of([TEXT], "arms!", "models!"),
    **_of([WHOLE], "seeds!", "train_sizes!"),
}
DROP = {**_of(NUMBER, "value!", "low!", "high!", "p_value", "p_adjusted"), "is_shown!": FLAG}
FURTHER_SET = {
    **_of(WHOLE, "size!", "clusters!"),
    **_of({"share!": NUMBER}, "overlap!", "lookalikes!"),
    "fingerprint!": TEXT,
    "clustered": FLAG,
}
SHAPES: dict[str, Shape] = {
    "provenance.json": {"format": WHOLE, **_of(OBJECT, "source", "versions")},
    "splits.json": {
        "sizes!": {ANY: COUNT, **_of(COUNT, "train!", "test!")},
        "labels!": {ANY: {ANY: COUNT}, "train!": {ANY: COUNT}},
        "overlap": {"share": NUMBER, "examples": LIST},
        "lookalikes": {"share": NUMBER, "ids!": [TEXT]},
        "fingerprints": {ANY: TEXT},
        "dropped": {ANY: NUMBER},
        "tests": {ANY: FURTHER_SET},
    },
    "audit.json": {
        "checks": [TEXT],
        "findings": [{**_of(TEXT, "name", "level", "message"), "count": NUMBER, "examples": LIST}],
    },
    "forecast.json": {"arms": [{**RUN, "arm": TEXT, "label": TEXT, **_of(NUMBER, "time_s", "memory_bytes")}]},
    "comparisons.json": {
        "comparisons": [PAIR],
        "arms": [{**_of(TEXT, "arm!", "model"), **_of(SCORES, "scores", "dev_scores")}],
        "by_train_size": [SAMPLE],
        "diagnoses": [{**RUN, "findings": [_of(TEXT, "name", "sentence")]}],
        "registration": {"finished!": WHOLE, "other_changes!": [TEXT]},
        "without_lookalikes": {
            "metric!": TEXT,
            **_of(NUMBER, "items!", "share!"),
            "arms!": [{"arm!": TEXT, **_of(SCORE, "all?", "without?")}],
        },
        "tests": [
            {
                **_of(TEXT, "name!", "metric!"),
                **_of(NUMBER, "items!", "clusters", "overlap_share", "lookalike_share"),
                "arms!": [{**_of(TEXT, "arm!", "model", "name!"), "scores": SCORES, "drop": DROP}],
                **_of([TEXT], "not_scored", "sentences"),
                "claims": [PAIR],
            }
        ],
        "as_good": AS_GOOD,
        "verdict": {**_of(TEXT, "outcome", "sentence"), "sentences": [TEXT]},
        "not_computed": [TEXT],
    },
    "label_errors.json": {
        "parts!": [
            {
                "part!": TEXT,
                **_of(WHOLE, "items!", "expected!"),
                "models!": [TEXT],
                "pairs!": [{**_of(TEXT, "label!", "suggested!"), "expected!": WHOLE}],
            }
        ],
        "rows!": [{**_of(TEXT, "id!", "part!", "text!", "label!", "suggested!"), "score!": NUMBER}],
        "skipped": [TEXT],
        "without": {
            **_of(WHOLE, "left_out!", "items!"),
            **_of(TEXT, "metric!", "caution!"),
            "claims!": [{"all!": TEXT, "without?": TEXT}],
            "arms!": [{"arm!": TEXT, **_of(SCORE, "all?", "without?")}],
        },
    },
    "registration.json": {"entries!": [{**_of(TEXT, "time!", "digest!"), "finished!": WHOLE, **DESIGN}]},
    "changes.json": {
        "changes": [_of(TEXT, "action!", "arm!", "name", "old_fingerprint", "new_fingerprint", "moved_to")]
    },
    "arm.json": {
        **RUN,
        **_of(TEXT, "status!", "method", "kind", "fingerprint", "source", "commit"),
        **_of(NUMBER, "order", "wall_s", "items_per_s", "peak_memory_bytes", "model_bytes"),
        "serving": {
            **_of({ANY: NUMBER}, "latency_s", "items_per_s"),
            "item_s": [NUMBER],
            "batch_size": WHOLE,
        },
        "usage": {ANY: NUMBER},
        "time_s": {ANY: NUMBER},
        "options": {"more_epochs": [WHOLE]},
        "labels": [TEXT],
        "model_files": {ANY: TEXT},
        "chosen": CHOSEN,
        "encoding": _of(NUMBER, "truncated_items", "max_length"),
        "prompts": [_of(LIST, "tokens", "supervised")],
        "notes": LIST,
        "search": {"trials": [TRIAL], "chosen": OBJECT, "budget_steps": NUMBER},
    },
    "facts.json": {"fingerprint": TEXT, **_of(OBJECT, "facts", "memory_settings")},
    "scores.json": SCORES,
    "ledger.json": {
        **_of(NUMBER, "base", "total", "trainable", "trainable_share_of_others"),
        "lines": [{**_of(TEXT, "part!", "reason!"), "count!": WHOLE}],
        "training_speed": _of(
            NUMBER, "tokens_per_s", "flops_per_token", "mfu", "bandwidth_utilization", "step_s"
        ),
        "memory": MEMORY,
        "pretrained": PRETRAINED,
    },
    "steps.jsonl": [
        {
            **_of(NUMBER, "step!", "epoch!", "loss?", "learning_rate!", "count", "time_s", "dev_loss"),
            **_of(NUMBER, "dev_accuracy", "dev_f1", "tokens", "tokens_per_s"),
            "gradient_norm": REAL,
        }
    ],
}


def find_fault(value: Any, shape: Shape) -> tuple[str, str] | None:
    """The path and the problem of the first value that does not fit; None if all do."""
    kind = shape if isinstance(shape, str) else LIST if isinstance(shape, list) else OBJECT
    if value is MISSING:
        return "", "is missing"
    if not FITS[kind](value):
        text = "null" if value is None else repr(value)
        return "", f"is {text if len(text) <= MAX_SHORT else text[:MAX_SHORT] + '...'}, not {kind}"
    for key, part, inner in _parts(value, shape):
        if isinstance(inner, str) and FITS[inner](part):
            continue
        if fault := find_fault(part, inner):
            return f"[{key}]{fault[0]}" if isinstance(key, int) else f".{key}{fault[0]}", fault[1]
    return None


def _parts(value: Any, shape: Shape) -> Iterator[tuple[str | int, Any, Shape]]:
    """The key, value and shape of each part that must fit."""
    if isinstance(shape, list):
        for index, part in enumerate(value):
            yield index, part, shape[0]
    elif not isinstance(shape, str):
        for marked, inner in shape.items():
            if marked == ANY:
                for name, part in value.items():
                    yield name, part, inner
                continue
            key, absent = _key_and_absent(marked)
            part = value.get(key, MISSING)
            if part not in absent:
                yield key, part, inner


@cache
def _key_and_absent(marked: str) -> tuple[str, tuple[Any, ...]]:
    """A shape's key without its mark, and the values with which it counts as absent."""
    marks: dict[str, tuple[Any, ...]] = {"!": (), "?": (None,)}
    return marked.rstrip("!?"), marks.get(marked[-1], (None, MISSING))


def check_shape(path: Path, value: Any) -> Any:
    """The value of a study's file. Raises: RunError if a key that is read holds something else."""
    if fault := find_fault(value, SHAPES.get(path.name, OBJECT)):
        key, problem = fault
        raise RunError(str(path), f"{key.lstrip('.')} {problem}.".lstrip(), do=_repair(path))
    return value


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object of a study. Raises: RunError if it is damaged or its values have other types."""
    value: dict[str, Any] = check_shape(path, read_json(path))
    return value


def _repair(path: Path) -> str:
    if path.parent.parent.name == "arms":
        return f"Run the arm again with --restart {path.parent.name}."
    if path.name == "registration.json":
        return "Restore the file. Without it the report says that the claims were recorded after the results."
    if path.name in ("provenance.json", "changes.json"):
        return "Restore the file, or run the study again in a new folder."
    return "Delete the file and run the study again: its finished arms are kept."
