"""How to load an arm: which one, and the lines that label new texts with it.

In: rows of arms. Out: plain strings, paths relative to the study's folder.
Knows nothing of: HTML, weights, how an arm predicts.
"""

from collections.abc import Sequence
from typing import Any

from tuneproof.metrics import METRICS
from tuneproof.record.study_folder import ARMS, WEIGHTS, ArmRecord, StudyRecord
from tuneproof.report.tables import ArmRow, goes_down, metric_title, show_score, style_of

EXAMPLE = "The first half drags; the second is why you came."


def _place(record: ArmRecord) -> str:
    return f"{ARMS}/{record.folder.name}"


def _by_dev(row: ArmRow) -> tuple[ArmRecord, str]:
    """The seed with the lowest loss on dev, and why it is shown; "" where there is no other."""
    done = [record for record in row.records if record.about.get("status") == "done"]
    losses = [(record.about.get("chosen") or {}).get("dev_loss") for record in done]
    if len(done) < 2:
        return done[0], ""
    known = [(loss, at) for at, loss in enumerate(losses) if loss is not None]
    at = min(known)[1] if known else 0
    seed = done[at].about.get("seed")
    why = "has the lowest loss on dev" if known else "is the first"
    return done[at], f" Of its seeds, {seed} {why}"


def _transformers(row: ArmRow, record: ArmRecord) -> str:
    """The lines without tuneproof, where the folder is a whole classifier that transformers knows."""
    options = record.about.get("options") or {}
    whole = row.kind == "tuned" and (record.folder / WEIGHTS / "config.json").is_file()
    if not whole or options.get("objective", "head") != "head":
        return ""
    longest = (record.about.get("encoding") or {}).get("max_length")
    return (
        "from transformers import pipeline\n\n"
        f'label = pipeline("text-classification", model="{_place(record)}/{WEIGHTS}", top_k=None)\n'
        f'print(label(["{EXAMPLE}"], truncation=True, max_length={longest}))'
    )


def loading(study: StudyRecord, rows: Sequence[ArmRow], metric: str) -> dict[str, Any] | None:
    """What the section shows; None where no arm is done and scored."""
    scored = [
        row
        for row in rows
        if row.scores.get(metric) and row.scores[metric].value is not None and row.status == "done"
    ]
    if not scored:
        return None
    sign = -1 if goes_down(metric) else 1
    best = max(scored, key=lambda row: sign * (row.scores[metric].value or 0.0))
    record, seed = _by_dev(best)
    style = style_of(list(rows), metric)
    alone = (record.scores.get(metric) or {}).get("value")
    if seed:
        seed += f": alone it has {style.value(alone)}{style.unit}." if alone is not None else "."
    shown = show_score(best.scores[metric], style)
    end = "lowest" if goes_down(metric) else "highest"
    place = _place(record)
    python = (
        f'found = tuneproof.predict("{place}", ["{EXAMPLE}"])\n'
        "print([found.labels[i] if i >= 0 else None for i in found.predicted_N])\n"
        "print(found.probabilities_NC)"
    )
    command = f"tuneproof predict {place} --input new.csv --text COLUMN > labelled.csv"
    transformers = _transformers(best, record)
    if metric in METRICS and METRICS[metric].kind == "questions":
        python = (
            f'found = tuneproof.answer("{place}", ["Who wrote it?"], ["It was written by Ada."])\n'
            'print(found.texts)  # "" is no answer'
        )
        command = f"tuneproof predict {place} --input new.csv > answered.csv"
        transformers = ""
    return {
        "arm": best.label,
        "why": f"{best.label} has the {end} {metric_title(metric).lower()} here, {shown}{style.unit}; "
        f"where another arm's interval overlaps this one, that it is first is partly luck.{seed}",
        "python": f"import tuneproof\n\n{python}",
        "command": command,
        "transformers": transformers,
        "others": [(row.label, _place(_by_dev(row)[0])) for row in scored if row is not best],
    }
