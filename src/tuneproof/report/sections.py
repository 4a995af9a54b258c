"""What each section of the page shows, as values and pictures; the template only sets them.

In: a study read back. Out: one dictionary for the template. Knows nothing of: HTML tags, files' names.
"""

from collections.abc import Sequence
from functools import lru_cache
from shlex import quote
from typing import Any

from tuneproof.errors import RecipeError
from tuneproof.metrics.labels import BINS
from tuneproof.recipe.yaml import parse_value
from tuneproof.record.study_folder import RECIPE, StudyRecord, read_items
from tuneproof.report.charts.forest import colour
from tuneproof.report.charts.label_efficiency import efficiency
from tuneproof.report.charts.learning_curves import panels, reliability_figure
from tuneproof.report.charts.peak_memory import peaks
from tuneproof.report.engine_parity import engines
from tuneproof.report.flips import changes, payload
from tuneproof.report.load_code import loading
from tuneproof.report.question_sections import histograms, no_answer_shares, question_slices, thresholds
from tuneproof.report.results import costs, differences, forest, metric_table
from tuneproof.report.rounding import NOTHING, count, memory, percent, plain, probability, seconds, style_for
from tuneproof.report.slices import Answers, answers_of, confusions, one_label_for_all, reliabilities, slices
from tuneproof.report.tables import (
    ArmRow,
    arm_rows,
    arm_table,
    comparison_rows,
    is_share,
    main_metric,
    metric_title,
    overlap_share,
    pooled_rows,
)
from tuneproof.report.training_speed import NOTE as SPEEDS_NOTE
from tuneproof.report.training_speed import speeds

LONG_LIST = 12
SHOWN_WITHOUT_SCRIPT = 25
LEVELS = {"error": 0, "stop": 0, "warning": 1, "warn": 1}


@lru_cache(maxsize=1)
def _recipe(text: str) -> Any:
    """The recipe's values; None where the text is none."""
    try:
        return parse_value(text, RECIPE)
    except RecipeError:
        return None


def setting(study: StudyRecord, *keys: str) -> Any:
    """A value of the filled-in recipe, or None."""
    value = _recipe(study.recipe_text)
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def task_name(study: StudyRecord) -> str:
    """The task's name in the recipe."""
    task = setting(study, "task")
    return str(next(iter(task), "")) if isinstance(task, dict) else str(task or "this task")


def question(study: StudyRecord) -> str:
    """What the study asked, in one sentence."""
    claims = [pair for pair in comparison_rows(study) if pair.get("claim")]
    if not claims:
        return f"How do {len(pooled_rows(study))} arms compare on {task_name(study)}?"
    models = {row.model for row in pooled_rows(study) if row.model} - {task_name(study)}
    model = f" with {models.pop()}" if len(models) == 1 else ""
    return f"On {task_name(study)}{model}, is {claims[0]['arm']} better than {claims[0]['over']}?"


def facts(study: StudyRecord, rows: Sequence[ArmRow]) -> list[tuple[str, str, str]]:
    """The few numbers under the verdict: what, value, what stands beside it."""
    pairs = comparison_rows(study)
    found = []
    if pairs and pairs[0].get("difference") is not None:
        pair = pairs[0]
        share = is_share(str(pair.get("metric")))
        style = style_for(pair.get("low"), pair.get("high"), share)
        unit = " points" if share else ""
        interval = style.interval(pair.get("low"), pair.get("high"), True)
        found.append(("Difference", style.value(pair["difference"], True) + unit, interval))
        adjusted = pair.get("p_adjusted") is not None and pair["p_adjusted"] != pair.get("p_value")
        p_value = pair["p_adjusted"] if adjusted else pair.get("p_value")
        named = str(pair.get("test") or "")
        test = " ".join([f"{named} test" if named else "", "(Holm)" if adjusted else ""]).strip()
        found.append(("p", probability(p_value), test))
        if pair.get("mde") is not None:
            found.append(("MDE", style.value(pair["mde"]) + unit, "true difference found 80 times in 100"))
    sizes = study.splits.get("sizes") or {}
    aside = f"{count(sizes.get('train'))} train, {count(sizes.get('dev'))} dev"
    share_seen = overlap_share(study)
    if share_seen is not None:
        aside += f"; {percent(share_seen)} % overlap train"
    found.append(("Test items", count(sizes.get("test")), aside))
    winner = pairs[0].get("arm") if pairs else None
    best = [row for row in rows if winner in (row.label, row.arm) and row.time_s]
    if best:
        found.append(
            (
                f"Cost of {best[0].label}",
                seconds(best[0].time_s),
                ("a seed, " if len(best[0].seeds) > 1 else "")
                + f"{memory(best[0].peak_memory_bytes)} at the peak",
            )
        )
    return found


def calibrations(answers: Sequence[Answers]) -> list[dict[str, Any]]:
    """The reliability diagrams with their errors and temperatures in words."""
    return [
        {
            "name": one.answers.row.label,
            "figure": reliability_figure(
                one.answers.row.label, one.after, one.before, colour(one.answers.arm, one.answers.row.kind)
            ),
            "before": percent(one.error_before),
            "after": None if one.error_after is None else percent(one.error_after),
            "temperature": " · ".join(f"{value:.2f}" for value in one.temperatures),
        }
        for one in reliabilities(answers)
    ]


def flat(values: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested values as rows of dotted names and strings."""
    if isinstance(values, dict):
        return [row for key, value in values.items() for row in flat(value, f"{name}.{key}".strip("."))]
    if isinstance(values, list) and len(values) > LONG_LIST:
        return [(name, f"{count(len(values))} values")]
    if isinstance(values, list):
        return [(name, ", ".join(str(value) for value in values) or NOTHING)]
    return [(name, NOTHING if values is None else str(values))]


def prompts(rows: Sequence[ArmRow]) -> list[dict[str, Any]]:
    """The items as each arm's model saw them: tokens, and which of them are supervised."""
    found = []
    for row in rows:
        known = [record.about["prompts"] for record in row.records if record.about.get("prompts")]
        shown: list[dict[str, Any]] = known[0] if known else []
        items = []
        for prompt in shown:
            tokens = [str(token).replace("\n", "↵\n") for token in prompt.get("tokens") or []]
            marks = list(prompt.get("supervised") or [])
            marks += [False] * (len(tokens) - len(marks))
            items.append(
                {**prompt, "pieces": list(zip(tokens, marks, strict=False)), "marked": sum(map(bool, marks))}
            )
        if items:
            found.append({"row": row, "items": items})
    return found


def _choices(rows: Sequence[ArmRow]) -> list[tuple[str, str]]:
    """What dev chose, arm by arm and seed by seed."""
    found = []
    for row in rows:
        for record in row.records:
            seed = record.about.get("seed")
            name = row.label if seed is None or len(row.seeds) < 2 else f"{row.label}, seed {seed}"
            chosen = record.about.get("chosen") or {}
            single = {
                key: plain(value) if isinstance(value, float) else value
                for key, value in chosen.items()
                if not isinstance(value, list)
            }
            shown = ", ".join(f"{key} {value}" for key, value in flat(single))
            if shown:
                found.append((name, shown))
    return found


def _notes(rows: Sequence[ArmRow], questions: bool) -> list[tuple[str, str]]:
    """What the arms have to say, each sentence once: notes, and texts that were cut."""
    found: dict[tuple[str, str], None] = {}
    for row in rows:
        for record in row.records:
            for note in record.about.get("notes") or []:
                found[row.label, str(note)] = None
            encoding = record.about.get("encoding") or {}
            cut, most = encoding.get("truncated_items"), encoding.get("max_length")
            if cut:
                said = (
                    f"{count(cut)} contexts were not read in one piece of {count(most)} tokens."
                    if questions
                    else f"{count(cut)} items were cut at {count(most)} tokens."
                )
                found[row.label, said] = None
    return list(found)


def _data(study: StudyRecord) -> dict[str, Any]:
    """Audit, splits, provenance and settings."""
    hidden = ("overlap", "fingerprints", "ids")
    findings = list(study.audit.get("findings") or [])
    empty = {"level": "note", "name": "", "message": "", "count": None, "override": None}
    return {
        "findings": [
            {**empty, "examples": [], **one}
            for one in sorted(findings, key=lambda one: LEVELS.get(str(one.get("level")), 2))
        ],
        "looked_for": list(study.audit.get("looked_for") or []),
        "splits": flat({k: v for k, v in study.splits.items() if k not in hidden}),
        "overlap_examples": (study.splits.get("overlap") or {}).get("examples") or [],
        "fingerprints": flat(study.splits.get("fingerprints") or {}),
        "provenance": [*_models(study), *flat(study.provenance)],
        "again": _again(str(setting(study, "out") or "STUDY")),
        "recipe": study.recipe_text,
        "command": str(study.provenance.get("command") or "tuneproof run recipe.yaml"),
    }


def _again(folder: str) -> str:
    """The commands that make the study, and its page, once more."""
    recipe, anew = quote(f"{folder}/{RECIPE}"), quote(f"out={folder}-again")
    return f"tuneproof run {recipe} --set {anew}\ntuneproof report {quote(folder)}"


def _models(study: StudyRecord) -> list[tuple[str, str]]:
    """Each model's files with their fingerprints, and the hub's commit where there is one."""
    found: dict[tuple[str, str], None] = {}
    for record in study.arms:
        about = record.about
        if about.get("model") and about.get("sketch"):
            name = f"model {about['model']}"
            if about.get("commit"):
                found[f"{name}, commit", str(about["commit"])] = None
            for line in str(about["sketch"]).split("|"):
                file, _, digest = line.rpartition(" ")
                found[f"{name}, {file}", digest] = None
    return list(found)


def sections(study: StudyRecord) -> dict[str, Any]:
    """Everything that the template sets."""
    rows, metric = pooled_rows(study), main_metric(study)
    answers = answers_of(rows)
    items = read_items(study.folder)
    pairs = changes(answers, comparison_rows(study))
    metrics, notes = metric_table(rows)
    notes += study.comparisons.get("not_computed") or []
    questions = any(table.kind == "questions" for arm in answers for table in arm.tables)
    return {
        **_data(study),
        "question": question(study),
        "facts": facts(study, rows),
        "rows": rows,
        "arms": arm_table(study),
        "seeds_table": arm_table(study, arm_rows(study)),
        "metric_title": metric_title(metric),
        "level": percent(float(setting(study, "score", "level") or 0.95), 0),
        "forest": forest(study, rows, metric),
        "differences": differences(study, metric),
        "metrics": metrics,
        "metric_notes": notes,
        "costs": costs(rows, metric),
        "speeds": speeds(rows),
        "speeds_note": SPEEDS_NOTE,
        "panels": panels(rows),
        "engines": engines(rows),
        "trained": [(i, row) for i, row in enumerate(rows) if any(r.steps for r in row.records)],
        "efficiency": efficiency(study, rows),
        "loading": loading(study, rows, metric),
        "changes": pairs,
        "payload": payload(pairs, items),
        "first_flips": SHOWN_WITHOUT_SCRIPT,
        "slices": question_slices(answers, items) if questions else slices(answers, items),
        "questions": questions,
        "thresholds": thresholds(answers) if questions else [],
        "no_answer_shares": no_answer_shares(study.splits.get("labels") or {}) if questions else "",
        "histograms": histograms(answers) if questions else [],
        "slice_arms": [arm.row for arm in answers],
        "calibrations": calibrations(answers),
        "bins": BINS,
        "confusions": confusions(answers),
        "constant": one_label_for_all(answers),
        "ledgers": [row for row in rows if row.records[0].ledger.get("lines")],
        "peaks": peaks(rows),
        "prompts": prompts(rows),
        "choices": _choices(rows),
        "arm_notes": _notes(rows, questions),
    }
