"""The report for scripts: report.json, its keys and their meaning.

In: a study read back. Out: one plain value. Knows nothing of: HTML, rounding, drawing.

    format       1; grows when a key changes its meaning, not when one is added
    task         the task's name
    metric       the metric that the verdict is about
    verdict      {"outcome": "better" | "worse" | "cannot tell" | null, "sentence", "headline"};
                 the headline is the sentence with the overlap beside it where the split is leaky
    split        {"kind", "leak_safe", "sizes": {"train", "dev", "test"}, "overlap_share"}
    arms         one an arm and seed: {"arm", "model", "method", "kind", "seed", "status", "reason",
                 "scores": {metric: {"value", "low", "high", "n"}}, "parameters": {"total",
                 "trainable"}, "time_s", "time_by_stage_s", "peak_memory_bytes", "items_per_s",
                 "memory": null or {"predicted_bytes", "measured_bytes", "error", ...},
                 "rate": null or, of training's median step, {"tokens_per_s", "step_s",
                 "operations_per_token" (of matrix products, forward and backward), "step_bytes" (moved
                 at least), "matrix_operations_per_s" and "bandwidth_bytes_per_s" (what the device
                 attains), "matrix_share" and "bandwidth_share" (of these), "steps"}}
    pooled       one an arm, its seeds taken together: {"arm", "model", "seeds", "scores"}
    comparisons  as the study computed them: {"arm", "over", "metric", "difference", "low", "high",
                 "p_value", "p_adjusted", "only_arm_right", "only_over_right", "n", "mde",
                 "outcome", "sentence", "claim", ...}
    by_train_size  one an arm and sample of train: {"arm", "model", "train_size", "seeds", "metric",
                 "score", "whole_adds": a comparison or null}
    audit        [{"name", "level", "message", "count"}]

Scores and differences are shares (0.891, not 89.1), unrounded; what is not known is null.
"""

from typing import Any

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report.tables import (
    ArmRow,
    Score,
    arm_rows,
    comparison_rows,
    headline,
    main_metric,
    pooled_rows,
)

FORMAT = 1


def _scores(scores: dict[str, Score]) -> dict[str, Any]:
    return {name: {"value": s.value, "low": s.low, "high": s.high, "n": s.n} for name, s in scores.items()}


def _arm(row: ArmRow) -> dict[str, Any]:
    return {
        "arm": row.arm,
        "model": row.model,
        "method": row.method,
        "kind": row.kind,
        "seed": row.seed,
        "status": row.status,
        "reason": row.reason or None,
        "scores": _scores(row.scores),
        "parameters": {"total": row.total, "trainable": row.trainable},
        "time_s": row.time_s,
        "time_by_stage_s": row.records[0].about.get("time_s") or {},
        "peak_memory_bytes": row.peak_memory_bytes,
        "memory": _memory(row),
        "rate": row.records[0].ledger.get("rate"),
        "items_per_s": row.items_per_s,
    }


def _memory(row: ArmRow) -> dict[str, Any] | None:
    found = row.records[0].ledger.get("memory")
    wanted = ("predicted_bytes", "measured_bytes", "error", "limit_bytes", "settings")
    return {key: found[key] for key in wanted} if found else None


def report_values(study: StudyRecord, task: str) -> dict[str, Any]:
    """What report.json holds; the keys are explained at the head of this file."""
    verdict = study.comparisons.get("verdict") or {}
    splits = study.splits
    return {
        "format": FORMAT,
        "task": task,
        "metric": main_metric(study),
        "verdict": {
            "outcome": verdict.get("outcome"),
            "sentence": verdict.get("sentence"),
            "headline": headline(study),
        },
        "split": {
            "kind": splits.get("kind"),
            "leak_safe": splits.get("leak_safe"),
            "sizes": splits.get("sizes") or {},
            "overlap_share": (splits.get("overlap") or {}).get("share"),
        },
        "arms": [_arm(row) for row in arm_rows(study)],
        "pooled": [
            {"arm": row.arm, "model": row.model, "seeds": list(row.seeds), "scores": _scores(row.scores)}
            for row in pooled_rows(study)
        ],
        "comparisons": comparison_rows(study),
        "by_train_size": study.comparisons.get("by_train_size") or [],
        "audit": [
            {key: finding.get(key) for key in ("name", "level", "message", "count")}
            for finding in study.audit.get("findings") or []
        ],
    }
