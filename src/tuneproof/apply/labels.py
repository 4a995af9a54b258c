"""Label new texts with a finished arm, by the very path that labelled the test items.

In: an arm's folder and texts. Out: labels with probabilities.
Knows nothing of: golds, scores.
"""

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuneproof.arms.baseline import run_baseline
from tuneproof.atomic import check_folder, write_text
from tuneproof.context.monitor import Running
from tuneproof.context.study_data import Shared
from tuneproof.data.splits import Splits
from tuneproof.errors import DataError, ModelError, RunError
from tuneproof.inference.prediction import Predicted, Predictions
from tuneproof.recipe.recipe import Arm, ModelChoice, Recipe, read_recipe
from tuneproof.record.study_folder import RECIPE, WEIGHTS, ArmRecord, read_arm, read_items, read_study
from tuneproof.redact import printable
from tuneproof.tasks.question_rows import asked_from
from tuneproof.tasks.tables import Reading, read_table
from tuneproof.tasks.task import Example

SHOWN_ROWS = 5
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\0")


def predict(arm_folder: Path, texts: Sequence[str]) -> Predictions:
    """Predictions of these texts, stripped as in training; their gold labels mean nothing.

    Raises: as `label_examples`; DataError where a text is empty; RunError where the arm answers
    questions.
    """
    record = finished_arm(arm_folder)
    if is_of_questions(arm_folder):
        raise RunError(
            str(arm_folder),
            "answers questions about contexts, not texts alone.",
            do="Use tuneproof.answer(arm, questions, contexts).",
        )
    empty = [row + 1 for row, text in enumerate(texts) if not text.strip()]
    if empty:
        raise _empty("row", empty)
    new = [Example(str(place), text.strip(), 0, str(place)) for place, text in enumerate(texts)]
    found = label_examples(arm_folder, record, new)
    assert isinstance(found, Predictions)
    return found


def finished_arm(arm_folder: Path) -> ArmRecord:
    """The arm's record.

    Raises: RunError where the folder holds no finished arm.
    """
    read_arm(Path(arm_folder))  # an error names the folder as it was given
    record = read_arm(Path(arm_folder).resolve())
    if record.about["status"] != "done":
        raise RunError(str(arm_folder), f"is not finished ({record.about['status']}).")
    if record.about.get("train_size"):
        raise RunError(
            str(arm_folder),
            "learnt from a sample of train and kept no weights.",
            do="Name the folder of the same arm on the whole of train.",
        )
    return record


def is_of_questions(arm_folder: Path) -> bool:
    """Whether a finished arm answers questions."""
    record = finished_arm(arm_folder)
    return read_recipe(record.folder.parent.parent / RECIPE).task.kind == "questions"


def label_examples(arm_folder: Path, record: ArmRecord, new: list[Example]) -> Predicted:
    """What the arm says to these items, by the very path that it said it to the test items.

    Raises: RunError where the arm's files were changed or it left the recipe; ModelError where the
    base model is gone or another one.
    """
    study = record.folder.parent.parent
    recipe = read_recipe(study / RECIPE)
    if record.about["arm"] not in [arm.name for arm in recipe.arms]:
        raise RunError(
            str(arm_folder),
            f"the study's recipe no longer has the arm {record.about['arm']}.",
            do="Put it back into the recipe, or predict by another arm.",
        )
    grouped = bool(read_study(study).splits.get("grouped"))
    shared = _shared(study, recipe, record, new, grouped)
    if (record.folder / WEIGHTS).is_dir():
        check_folder(record.folder / WEIGHTS)
    return _result(_asked(shared, recipe.arm(record.about["arm"]), record, new))


def _empty(where: str, rows: Sequence[int]) -> DataError:
    shown = ", ".join(str(row) for row in rows[:SHOWN_ROWS])
    more = ", …" if len(rows) > SHOWN_ROWS else ""
    return DataError(f"{where} {shown}{more}", "the text is empty.", do="Fill it in, or leave the row out.")


def _text(value: Any) -> str:
    """A cell as a text; nothing and NaN are empty, as in training."""
    return "" if value is None or value != value else str(value)


def _shared(study: Path, recipe: Recipe, record: ArmRecord, new: list[Example], grouped: bool) -> Shared:
    """What the arm shared with the others, the new texts in the place of test."""
    labels = tuple(record.about["labels"])
    train, dev = (_examples(study, part, labels) for part in ("train", "dev"))
    splits = Splits(train, dev, new, labels, grouped, {})
    words = recipe.task.prompt(recipe.task_options, labels)
    return Shared(recipe, splits, words, study / "cache")


def _examples(study: Path, part: str, labels: tuple[str, ...]) -> list[Example]:
    items = read_items(study, part)
    rows = zip(items.ids, items.texts, items.golds, items.groups, strict=True)
    asked = [asked_from(text, stored) for text, stored in zip(items.texts, items.asked, strict=False)]
    return [
        Example(id, text, labels.index(gold), group, (), asked[place] if asked else None)
        for place, (id, text, gold, group) in enumerate(rows)
    ]


def _result(running: Running[Predicted]) -> Predicted:
    """Run to the end, showing nothing."""
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value


def _asked(shared: Shared, arm: Arm, record: ArmRecord, new: list[Example]) -> Running[Predicted]:
    """The arm's own way to predict, by the kind of its method."""
    if arm.method.kind == "baseline":
        outcome = yield from run_baseline(shared, arm)
        return outcome.test
    from tuneproof.context.model_spec import make_compute

    if arm.method.check is not None:
        arm.method.check()
    ready = base_of(record, shared.recipe)
    if shared.kind == "questions":
        compute = make_compute(shared.recipe.compute, ready.max_length)
        return (yield from _answered(shared, arm, record, ready, compute, new))
    longest = int(ready.encode("new", new, shared.recipe.encode).tokens_N.max())
    compute = make_compute(shared.recipe.compute, longest)
    if arm.method.kind == "prompt":
        from tuneproof.arms.prompted import PromptAsker, load_asked

        train = {example.id: example for example in shared.splits.train}
        shots = [train[name] for name in record.about["chosen"].get("shots", [])]
        model = load_asked(ready, compute).to(compute.device)
        return (yield from PromptAsker(shared, arm, ready, compute, model, shots).ask(new))
    if arm.method.apply is None:
        from tuneproof.arms.probe import ask_probe

        return (yield from ask_probe(shared, ready, compute, record.folder / WEIGHTS, new))
    from tuneproof.arms.tuned import head_of, held_dtype, packing_of, reload_tuned
    from tuneproof.objectives.objective import make_objective

    name = getattr(arm.options, "objective", "head")
    head = head_of(name, shared.kind)
    packing = packing_of(arm, compute)
    dtype = held_dtype(arm, compute)
    model = reload_tuned(record.folder / WEIGHTS, ready, head, shared.labels, packing, dtype)
    model = model.to(compute.device)
    return (yield from make_objective(name, shared, ready, compute).ask(model, new, "new"))


def _answered(
    shared: Shared, arm: Arm, record: ArmRecord, ready: Any, compute: Any, new: list[Example]
) -> Running[Predicted]:
    """The same for questions, at the threshold that dev chose."""
    from tuneproof.arms.prompted import load_asked
    from tuneproof.arms.tuned import head_of, reload_tuned
    from tuneproof.objectives.answers import AnswerObjective
    from tuneproof.objectives.objective import make_objective

    chosen = record.about["chosen"]
    if arm.method.kind == "prompt":
        train = {example.id: example for example in shared.splits.train}
        shots = [train[name] for name in chosen.get("shots", [])]
        objective: Any = AnswerObjective(shared, ready, compute, shots)
        model = load_asked(ready, compute).to(compute.device)
    else:
        name = getattr(arm.options, "objective", "head")
        objective = make_objective(name, shared, ready, compute)
        head = head_of(name, shared.kind)
        model = reload_tuned(record.folder / WEIGHTS, ready, head, shared.labels)
        model = model.to(compute.device)
    found = yield from objective.ask(model, new, "new")
    return found.at(chosen["answers"]["no_answer_threshold"])


def base_of(record: ArmRecord, recipe: Recipe) -> Any:
    """The model that the arm was made with, where it was then, unchanged."""
    from tuneproof.context.model_spec import make_ready

    about = record.about
    source = str(about["source"])
    if about.get("commit") is None and not Path(source).is_dir():
        raise ModelError(
            source, f"the model of {about['arm']} is no longer there.", do="Put the folder back."
        )
    choice = ModelChoice(id=source, revision=about.get("commit"), name=about["model"])
    ready = make_ready(choice, recipe.encode)
    if about.get("sketch") not in (None, ready.sketch):
        raise ModelError(
            source,
            f"is not the model that {about['arm']} was made with: its files have changed.",
            do="Put the old files back, or run the arm again.",
        )
    return ready


def _reading(arm: Path) -> tuple[Reading | None, str]:
    """How the study's own file was read, and its text column; nothing special elsewhere."""
    read_arm(arm)
    options: Any = read_recipe(arm.resolve().parent.parent / RECIPE).task_options
    column = getattr(options, "text", "text")
    if not hasattr(options, "encoding"):
        return None, column
    return Reading(options.encoding, options.delimiter, options.quotes), column


def label_file(arm: Path, source: str | None, column: str | None, target: str | None) -> None:
    """Label a table's text column, or the lines of standard input; write CSV or JSONL.

    Columns of the result: those of the source, predicted, and p_<label> for every label.

    Raises: DataError where the column is missing; RunError where the arm cannot predict.
    """
    if source is None:
        texts = [line.rstrip("\r\n") for line in sys.stdin]
        columns: dict[str, Sequence[Any]] = {"text": texts}
    else:
        reading, usual = _reading(arm)
        column = column or usual
        table = read_table(source, reading)
        columns = dict(table.columns)
        if column not in columns:
            raise DataError(
                table.name,
                f"has no column {column!r}.",
                f"Its columns: {', '.join(columns)}.",
                "Name one with --text.",
            )
        texts = [_text(value) for value in columns[column]]
        empty = [n for n, text in zip(table.numbers, texts, strict=True) if not text.strip()]
        if empty:
            raise _empty(f"{table.name}, {table.noun}", empty)
    if not texts:
        raise DataError(source or "standard input", "holds no text.", do="Give one text a line.")
    ours = ["predicted", *(f"p_{label}" for label in read_arm(arm).about.get("labels", ()))]
    taken = [name for name in ours if name in columns]
    if taken:
        raise DataError(source or "standard input", f"has a column {taken[0]!r} already.", do="Rename it.")
    found = predict(arm, texts)
    rows = [
        {
            **{name: values[place] for name, values in columns.items()},
            "predicted": None if found.predicted_N[place] < 0 else found.labels[found.predicted_N[place]],
            **_shares(found, place),
        }
        for place in range(len(texts))
    ]
    write_rows(rows, target)


def write_rows(rows: Sequence[dict[str, Any]], target: str | None) -> None:
    """CSV, or JSONL where the name says so, into a file or to standard output."""
    written = _as_jsonl(rows) if target and target.endswith(".jsonl") else _as_csv(rows)
    if target:
        write_text(Path(target), written)
    else:
        print(printable(written) if sys.stdout.isatty() else written, end="")


def _shares(found: Predictions, place: int) -> dict[str, float]:
    if found.probabilities_NC is None:
        return {}
    values = np.round(found.probabilities_NC[place], 6).tolist()
    return {f"p_{label}": value for label, value in zip(found.labels, values, strict=True)}


def _as_jsonl(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """CSV in which no text begins as a spreadsheet's formula does."""
    stream = io.StringIO()
    plain = csv.writer(stream, lineterminator="\n")
    quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in (list(rows[0]), *(list(row.values()) for row in rows)):
        cells = [_plain(value) for value in row]
        # Python before 3.13 leaves a carriage return unquoted, and readers end the row there.
        (quoted if any("\r" in str(cell) for cell in cells) else plain).writerow(cells)
    return stream.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA_STARTS) and not _is_number(value):
        return f"'{value}"
    return "" if value is None else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
