"""The report for scripts: report.json. docs/report-json.md explains its keys.

In: a study read back. Out: one plain value. Knows nothing of: HTML, formatting, drawing.
"""

from collections.abc import Sequence
from typing import Any

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report import tables
from tuneproof.report.before_after import BeforeAfter
from tuneproof.report.costs import cost_values
from tuneproof.report.further_tests import further_entries
from tuneproof.report.recommendation import recommend

FORMAT = 2  # grows when a key changes its name or meaning, not when one is added


def _scores(scores: dict[str, tables.Score]) -> dict[str, Any]:
    return {name: {"value": s.value, "low": s.low, "high": s.high, "n": s.n} for name, s in scores.items()}


def _arm(row: tables.ArmRow) -> dict[str, Any]:
    return {
        **{key: getattr(row, key) for key in ("arm", "model", "method", "kind", "seed", "status")},
        "reason": row.reason or None,
        "scores": _scores(row.scores),
        "parameters": {"total": row.total, "trainable": row.trainable},
        "time_s": row.time_s,
        "training_s": row.training_s,
        "time_by_stage_s": row.records[0].about.get("time_s") or {},
        "peak_memory_bytes": row.peak_memory_bytes,
        "memory": _memory(row),
        "training_speed": row.records[0].ledger.get("training_speed"),
        "search": row.records[0].about.get("search"),
        "decision": (row.records[0].about.get("chosen") or {}).get("decision"),
        "items_per_s": row.items_per_s,
    }


def _memory(row: tables.ArmRow) -> dict[str, Any] | None:
    memory = row.records[0].ledger.get("memory")
    keys = ("predicted_bytes", "measured_bytes", "error", "limit_bytes", "settings")
    return {key: memory[key] for key in keys} if memory else None


def report_values(study: StudyRecord, task: str, before_after: Sequence[BeforeAfter]) -> dict[str, Any]:
    """The value of report.json."""
    verdict = study.comparisons.get("verdict") or {}
    outcome, sentence = verdict.get("outcome"), verdict.get("sentence")
    splits, overlap = study.splits, study.splits.get("overlap") or {}
    return {
        "format": FORMAT,
        "task": task,
        "metric": tables.main_metric(study),
        "positive_label": tables.positive_label(study) or None,
        "verdict": {
            "outcome": outcome,
            "sentence": sentence,
            "headline": " ".join(tables.headlines(study, whole=True)),
        },
        "split": {
            **{key: splits.get(key) for key in ("kind", "leak_safe")},
            "sizes": splits.get("sizes") or {},
            "overlap_share": overlap.get("share"),
        },
        "recommendation": advice.as_json() if (advice := recommend(study)) else None,
        "costs": cost_values(study),
        "before_after": [table.as_json() for table in before_after],
        "arms": [_arm(row) for row in tables.arm_rows(study)],
        "pooled": [
            {
                "arm": row.arm,
                "model": row.model,
                "seeds": list(row.seeds),
                "scores": _scores(row.scores),
                "dev_scores": _scores(row.dev_scores),
            }
            for row in tables.pooled_rows(study)
        ],
        "comparisons": tables.comparison_rows(study),
        "diagnoses": study.comparisons.get("diagnoses"),
        "forecast": study.forecast or None,
        "without_lookalikes": study.comparisons.get("without_lookalikes"),
        "tests": further_entries(study),
        "by_train_size": study.comparisons.get("by_train_size") or [],
        "audit": [
            {key: finding.get(key) for key in ("name", "level", "message", "count")}
            for finding in study.audit.get("findings") or []
        ],
    }
