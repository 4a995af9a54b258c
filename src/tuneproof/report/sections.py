"""The content of each section of the page, as values and figures that the template lays out.

In: a study read back. Out: one dictionary for the template. Knows nothing of: HTML tags, file names.
"""

from collections.abc import Sequence
from functools import lru_cache
from shlex import quote
from typing import Any

from tuneproof.errors import RecipeError
from tuneproof.metrics.labels import BINS
from tuneproof.recipe.yaml import parse_value
from tuneproof.record.study_folder import RECIPE, StudyRecord, read_items
from tuneproof.report import formatting, question_sections, slices, tables
from tuneproof.report.abstention import abstention_table
from tuneproof.report.arm_table import UNDONE, arm_table, arm_terms, undone_arms
from tuneproof.report.charts.calibration import reliability_figure
from tuneproof.report.charts.label_efficiency import label_efficiency
from tuneproof.report.charts.learning_curves import learning_curves
from tuneproof.report.charts.peak_memory import peak_memory
from tuneproof.report.charts.svg import arm_colour
from tuneproof.report.costs import (
    break_even_note,
    break_even_table,
    cost_table,
    cost_terms,
    score_against_cost,
    serving_terms,
    speed_of_serving,
)
from tuneproof.report.decisions import decision_note, decision_table
from tuneproof.report.diagnoses import NO_FINDING, read_diagnoses, withheld_verdicts
from tuneproof.report.engine_parity import engine_parity
from tuneproof.report.flips import compare_all_answers, flips_payload
from tuneproof.report.further_tests import further_section
from tuneproof.report.label_errors import label_errors_section
from tuneproof.report.ledgers import arm_ledgers, pretrained_models
from tuneproof.report.load_code import load_code
from tuneproof.report.lookalikes import lookalike_note, lookalike_table
from tuneproof.report.predicted_cost import NOTE as FORECAST_NOTE
from tuneproof.report.predicted_cost import predicted_cost
from tuneproof.report.results import cost_figures, forest_plot, metric_table, paired_differences
from tuneproof.report.search_trials import search_tables
from tuneproof.report.training_speed import NOTE as SPEEDS_NOTE
from tuneproof.report.training_speed import speed_table
from tuneproof.score.verdict import test_name

MAX_LISTED = 12
FLIPS_WITHOUT_SCRIPT = 25
LEVELS = {"error": 0, "stop": 0, "warning": 1, "warn": 1}


@lru_cache(maxsize=1)
def _recipe(text: str) -> Any:
    """The recipe's values; None if the text is not a recipe."""
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
    """The study's question in one sentence."""
    claims = [pair for pair in tables.comparison_rows(study) if pair.get("claim")]
    if not claims:
        return f"How do {len(tables.pooled_rows(study))} arms compare on {task_name(study)}?"
    models = {row.model for row in tables.pooled_rows(study) if row.model} - {task_name(study)}
    model = f" with {models.pop()}" if len(models) == 1 else ""
    return f"On {task_name(study)}{model}, is {claims[0]['arm']} better than {claims[0]['over']}?"


def key_figures(study: StudyRecord, rows: Sequence[tables.ArmRow]) -> list[tuple[str, str, str]]:
    """The key figures below the verdict: name, value, detail."""
    pairs = tables.comparison_rows(study)
    entries = _difference_figures(pairs[0], power(study)) if pairs else []
    sizes = study.splits.get("sizes") or {}
    detail = f"{formatting.count(sizes.get('train'))} train, {formatting.count(sizes.get('dev'))} dev"
    overlap = tables.overlap_share(study)
    if overlap is not None:
        detail += f"; {formatting.format_percent(overlap)} % overlap train"
    entries.append(("Test items", formatting.count(sizes.get("test")), detail))
    winner = pairs[0].get("arm") if pairs else None
    best = next((row for row in rows if winner in (row.label, row.arm) and row.training_s is not None), None)
    if best:
        peak = f"{formatting.memory(best.peak_memory_bytes)} peak memory"
        detail = f"per seed, {peak}" if len(best.seeds) > 1 else peak
        entries.append(
            (f"Training time of {best.label}", formatting.format_duration(best.training_s), detail)
        )
    return entries


def _difference_figures(pair: dict[str, Any], power: str) -> list[tuple[str, str, str]]:
    if pair.get("difference") is None:
        return []
    share = tables.is_share(str(pair.get("metric")))
    style = formatting.choose_style(pair.get("low"), pair.get("high"), share)
    unit = " points" if share else ""
    interval = style.interval(pair.get("low"), pair.get("high"), True)
    is_adjusted = pair.get("p_adjusted") not in (None, pair.get("p_value"))
    p_value = pair["p_adjusted"] if is_adjusted else pair.get("p_value")
    test = test_name(str(pair["test"])) if pair.get("test") else ""
    entries = [
        ("Difference", style.value(pair["difference"], True) + unit, interval),
        ("p-value", formatting.format_p_value(p_value), f"{test}, corrected (Holm)" if is_adjusted else test),
    ]
    if pair.get("mde") is not None:
        entries.append(("Detectable difference", style.value(pair["mde"]) + unit, f"with {power} % power"))
    return entries


def power(study: StudyRecord) -> str:
    """The power of the detectable differences, in percent."""
    return formatting.format_percent(float(setting(study, "score", "power") or 0.8), 0)


def level(study: StudyRecord) -> str:
    """The level of the intervals, in percent."""
    return formatting.format_percent(float(setting(study, "score", "level") or 0.95), 0)


def calibrations(arms: Sequence[slices.ArmPredictions]) -> list[dict[str, Any]]:
    """The reliability diagrams with their errors and temperatures."""
    entries = []
    for calibration in slices.measure_calibration(arms):
        row, error, loss = calibration.predictions.row, calibration.error_after, calibration.loss_after
        ink = arm_colour(calibration.predictions.index, row.kind)
        diagram = reliability_figure(row.label, calibration.after, calibration.before, ink)
        before = formatting.format_percent(calibration.error_before)
        after = None if error is None else formatting.format_percent(error)
        temperature = " · ".join(f"{value:.2f}" for value in calibration.temperatures)
        entries.append(
            {
                "name": row.label,
                "figure": diagram,
                "before": before,
                "after": after,
                "loss": f"{calibration.loss_before:.3f}",
                "loss_after": None if loss is None else f"{loss:.3f}",
                "is_worse": loss is not None and round(loss, 3) > round(calibration.loss_before, 3),
                "temperature": temperature,
            }
        )
    return entries


def flatten(values: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested values as rows of dotted names and strings."""
    if isinstance(values, dict):
        return [row for key, value in values.items() for row in flatten(value, f"{name}.{key}".strip("."))]
    if isinstance(values, list) and len(values) > MAX_LISTED:
        return [(name, f"{formatting.count(len(values))} values")]
    if isinstance(values, list):
        return [(name, ", ".join(str(value) for value in values) or formatting.NOTHING)]
    return [(name, formatting.NOTHING if values is None else str(values))]


def prompts(rows: Sequence[tables.ArmRow]) -> list[dict[str, Any]]:
    """Each arm's example prompts as tokens, with the supervised ones marked."""
    arms = []
    for row in rows:
        recorded = [record.about["prompts"] for record in row.records if record.about.get("prompts")]
        items = []
        for prompt in recorded[0] if recorded else []:
            tokens = [str(token).replace("\n", "↵\n") for token in prompt.get("tokens") or []]
            supervised = list(prompt.get("supervised") or [])
            supervised += [False] * (len(tokens) - len(supervised))
            marked_tokens = list(zip(tokens, supervised, strict=False))
            items.append({**prompt, "marked_tokens": marked_tokens, "marked": sum(map(bool, supervised))})
        if items:
            arms.append({"row": row, "items": items})
    return arms


def _choices(rows: Sequence[tables.ArmRow]) -> list[tuple[str, str]]:
    """The settings chosen on dev, per arm and seed."""
    choices = []
    for row in rows:
        for record in row.records:
            seed = record.about.get("seed")
            name = row.label if seed is None or len(row.seeds) < 2 else f"{row.label}, seed {seed}"
            chosen = record.about.get("chosen") or {}
            single = {
                key: formatting.format_number(value) if isinstance(value, float) else value
                for key, value in chosen.items()
                if not isinstance(value, list) and key != "decision"
            }
            text = ", ".join(f"{key} {value}" for key, value in flatten(single))
            if text:
                choices.append((name, text))
    return choices


def _notes(rows: Sequence[tables.ArmRow], questions: bool) -> list[tuple[str, str]]:
    """The notes of the arms and their counts of truncated items, each sentence once."""
    notes: dict[tuple[str, str], None] = {}
    for row in rows:
        for record in row.records:
            notes |= {(row.label, str(note)): None for note in record.about.get("notes") or []}
            encoding = record.about.get("encoding") or {}
            if cut := encoding.get("truncated_items"):
                limit = f"{formatting.count(encoding.get('max_length'))} tokens"
                split, truncated = f"are longer than {limit} and were split", f"were truncated to {limit}"
                effect = f"contexts {split}" if questions else f"items {truncated}"
                notes[row.label, f"{formatting.count(cut)} {effect}."] = None
    return list(notes)


def _data(study: StudyRecord) -> dict[str, Any]:
    """Audit, splits, provenance and settings."""
    hidden = ("overlap", "lookalikes", "tests", "merged_groups", "fingerprints", "ids")
    findings = list(study.audit.get("findings") or [])
    empty = {"level": "note", "name": "", "message": "", "count": None, "allowed_by": None}
    return {
        "findings": [
            {**empty, "examples": [], **finding}
            for finding in sorted(findings, key=lambda finding: LEVELS.get(str(finding.get("level")), 2))
        ],
        "checks": list(study.audit.get("checks") or []),
        "splits": flatten({k: v for k, v in study.splits.items() if k not in hidden}),
        "overlap_examples": (study.splits.get("overlap") or {}).get("examples") or [],
        "fingerprints": flatten(study.splits.get("fingerprints") or {}),
        "provenance": [*_models(study), *flatten(study.provenance)],
        "reproduce": _reproduce(str(setting(study, "out") or "STUDY")),
        "recipe": study.recipe_text,
        "command": str(study.provenance.get("command") or "tuneproof run recipe.yaml"),
    }


def _reproduce(folder: str) -> str:
    """The commands that run the study again and render its page again."""
    recipe, out = quote(f"{folder}/{RECIPE}"), quote(f"out={folder}-again")
    return f"tuneproof run {recipe} --set {out}\ntuneproof report {quote(folder)}"


def _models(study: StudyRecord) -> list[tuple[str, str]]:
    """Each model's files with their fingerprints, and the hub's commit if there is one."""
    entries: dict[tuple[str, str], None] = {}
    for record in study.arms:
        about = record.about
        for file, digest in (about.get("model_files") or {}).items():
            entries[f"model {about['model']}, {file}", digest] = None
    return list(entries)


def _training(study: StudyRecord, rows: Sequence[tables.ArmRow]) -> dict[str, Any]:
    """Diagnoses, searches, the forecast, speeds, parameters."""
    return {
        "diagnoses": read_diagnoses(study),
        "under_trained": any(row.finding for row in rows),
        "diagnosed": study.comparisons.get("diagnoses") is not None,
        "no_finding": NO_FINDING,
        "withheld": withheld_verdicts(study),
        "searches": search_tables(rows),
        "forecast": predicted_cost(study),
        "forecast_note": FORECAST_NOTE,
        "speeds": speed_table(rows),
        "speeds_note": SPEEDS_NOTE,
        "pretrained": pretrained_models(rows),
        "ledgers": arm_ledgers(rows),
    }


def _arms(study: StudyRecord) -> dict[str, Any]:
    """The arms with their seeds pooled, one by one, and what the headers mean."""
    return {
        "arms": arm_table(study),
        "arm_terms": arm_terms(study, level(study)),
        "undone": undone_arms(study),
        "undone_title": UNDONE,
        "seeds_table": arm_table(study, tables.arm_rows(study)),
    }


def _metrics(study: StudyRecord, rows: Sequence[tables.ArmRow], positive: str) -> dict[str, Any]:
    """Every metric of every arm, with what is to be said of them."""
    notes = [*tables.metric_notes(rows, positive), *(study.comparisons.get("not_computed") or [])]
    return {
        "metrics": metric_table(rows, positive),
        "metric_notes": [*notes, *registration_notes(study)],
        "recall_of": positive if any(row.has_score("recall") for row in rows) else "",
    }


def _costs(study: StudyRecord) -> dict[str, Any]:
    """What the arms cost, and from how many items each pays."""
    return {
        "cost_table": cost_table(study),
        "cost_terms": cost_terms(study),
        "serving_table": speed_of_serving(study),
        "serving_terms": serving_terms(study),
        "break_even": break_even_table(study),
        "break_even_note": break_even_note(study),
    }


def registration_notes(study: StudyRecord) -> list[str]:
    """That the claims were recorded first, and the arms and seeds that were added after the first results."""
    registration = study.comparisons.get("registration")
    if not registration:
        return []
    first = "The claims were recorded before the first test prediction (registration.json)."
    if registration["claim_changes"]:
        first = (
            "What was claimed at first was recorded before the first test prediction; the change that the "
            "verdict names came later (registration.json)."
        )
    return [*([] if registration["finished"] else [first]), *registration["other_changes"]]


def build_sections(study: StudyRecord) -> dict[str, Any]:
    """All values of the page's template."""
    rows, metric = tables.pooled_rows(study), tables.main_metric(study)
    arms = slices.read_arm_predictions(rows)
    items = read_items(study.folder)
    pairs = compare_all_answers(arms, tables.comparison_rows(study))
    counts = study.splits.get("labels") or {}
    questions = any(run.kind == "questions" for arm in arms for run in arm.runs)
    positive = tables.positive_label(study)
    return {
        **_data(study),
        **_training(study, rows),
        **_arms(study),
        **_metrics(study, rows, positive),
        "question": question(study),
        "key_figures": key_figures(study, rows),
        "rows": rows,
        "test_items": formatting.count((study.splits.get("sizes") or {}).get("test")),
        "dev_items": formatting.count((study.splits.get("sizes") or {}).get("dev")),
        "metric_title": tables.metric_title(metric, positive),
        "power": power(study),
        "level": level(study),
        "forest": forest_plot(study, rows, metric),
        "differences": paired_differences(study, metric),
        "lookalikes": lookalike_table(study),
        "further": further_section(study),
        "lookalike_note": lookalike_note(study),
        "label_errors": label_errors_section(study),
        "costs": [*score_against_cost(study, metric, positive), *cost_figures(rows, metric, positive)],
        **_costs(study),
        "panels": learning_curves(rows),
        "engines": engine_parity(rows),
        "trained": [(i, row) for i, row in enumerate(rows) if any(r.steps for r in row.records)],
        "efficiency": label_efficiency(study, rows),
        "loading": load_code(study, rows, metric, task_name(study)),
        "changes": pairs,
        "payload": flips_payload(pairs, items),
        "first_flips": FLIPS_WITHOUT_SCRIPT,
        "thresholds": question_sections.threshold_rows(arms) if questions else [],
        "no_answer_shares": question_sections.no_answer_share_note(counts) if questions else "",
        "histograms": question_sections.null_score_histograms(arms),
        "slices": (question_sections.slice_questions if questions else slices.slice_scores)(arms, items),
        "questions": questions,
        "slice_arms": [arm.row for arm in arms],
        "calibrations": calibrations(arms),
        "abstention": abstention_table(arms),
        "decisions": decision_table(rows, positive),
        "decision_note": decision_note(rows),
        "bins": BINS,
        "confusions": slices.count_confusions(arms),
        "constant": slices.constant_predictions(arms),
        "peaks": peak_memory(rows),
        "prompts": prompts(rows),
        "choices": _choices(rows),
        "arm_notes": _notes(rows, questions),
    }
