"""The code that loads the best arm and applies it to new texts.

In: rows of arms. Out: plain strings, with paths relative to the study's folder.
Knows nothing of: HTML, weights, how an arm predicts.
"""

from collections.abc import Sequence
from typing import Any

from tuneproof.metrics import METRICS
from tuneproof.record.study_folder import ARMS, WEIGHTS, ArmRecord, StudyRecord
from tuneproof.report.tables import (
    ArmRow,
    column_style,
    format_score,
    lower_is_better,
    metric_title,
    positive_label,
)
from tuneproof.tasks import TASKS

EXAMPLE = "The first half drags; the second is why you came."


def _folder_of(record: ArmRecord) -> str:
    return f"{ARMS}/{record.folder.name}"


def _by_dev(row: ArmRow) -> tuple[ArmRecord, str]:
    """The seed with the lowest loss on dev, with a sentence about it; "" if there is only one seed."""
    done = [record for record in row.records if record.about.get("status") == "done"]
    losses = [(record.about.get("chosen") or {}).get("dev_loss") for record in done]
    if len(done) < 2:
        return done[0], ""
    candidates = [(loss, index) for index, loss in enumerate(losses) if loss is not None]
    index = min(candidates)[1] if candidates else 0
    seed = done[index].about.get("seed")
    reason = "has the lowest loss on dev" if candidates else "is the first one"
    return done[index], f" Of its seeds, seed {seed} {reason}"


def _transformers(row: ArmRow, record: ArmRecord) -> str:
    """The code without tuneproof, if the folder holds a classifier that transformers can load."""
    options = record.about.get("options") or {}
    is_classifier = row.kind == "tuned" and (record.folder / WEIGHTS / "config.json").is_file()
    if not is_classifier or options.get("objective", "head") != "head":
        return ""
    max_length = (record.about.get("encoding") or {}).get("max_length")
    return (
        "from transformers import pipeline\n\n"
        f'label = pipeline("text-classification", model="{_folder_of(record)}/{WEIGHTS}", top_k=None)\n'
        f'print(label(["{EXAMPLE}"], truncation=True, max_length={max_length}))'
    )


def load_code(
    study: StudyRecord, rows: Sequence[ArmRow], metric: str, task_name: str
) -> dict[str, Any] | None:
    """The section's values; None if no arm is done and scored that can be loaded (a system's model is not
    ours)."""
    done = [row for row in rows if row.status == "done" and row.kind != "system"]
    scored = [row for row in done if row.has_score(metric)]
    if not scored:
        return None
    sign = -1 if lower_is_better(metric) else 1
    best = max(scored, key=lambda row: sign * (row.scores[metric].value or 0.0))
    record, seed = _by_dev(best)
    style = column_style(list(rows), metric)
    alone = (record.scores.get(metric) or {}).get("value")
    if seed:
        seed += f" and scores {style.value(alone)}{style.unit} alone." if alone is not None else "."
    score = format_score(best.scores[metric], style)
    title = metric_title(metric, positive_label(study))
    end = "lowest" if lower_is_better(metric) else "highest"
    task = TASKS.get(task_name)
    is_questions = metric in METRICS and METRICS[metric].kind == "questions"
    written = task is not None and task.written
    code = _answer_code(_folder_of(record), written) if is_questions else _label_code(_folder_of(record))
    return {
        "arm": best.label,
        "reason": f"{best.label} has the {end} {title[:1].lower()}{title[1:]}, {score}{style.unit}. Its lead "
        f"over arms with overlapping intervals may be due to chance.{seed}",
        "transformers": "" if is_questions else _transformers(best, record),
        "others": [(row.label, _folder_of(_by_dev(row)[0])) for row in scored if row is not best],
        **code,
    }


def _label_code(folder: str) -> dict[str, str]:
    return {
        "python": f'import tuneproof\n\nresult = tuneproof.predict("{folder}", ["{EXAMPLE}"])\n'
        "print([result.labels[i] if i >= 0 else None for i in result.predicted_N])\n"
        "print(result.probabilities_NC)",
        "command": f"tuneproof predict {folder} --input new.csv --text COLUMN > labelled.csv",
    }


def _answer_code(folder: str, written: bool) -> dict[str, str]:
    items = '["Where is my order?"]' if written else '["Who wrote it?"], ["It was written by Ada."]'
    hint = "" if written else '  # "" means no answer'
    return {
        "python": f'import tuneproof\n\nresult = tuneproof.answer("{folder}", {items})\n'
        f"print(result.texts){hint}",
        "command": f"tuneproof predict {folder} --input new.csv > answered.csv",
    }
