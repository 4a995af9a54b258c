"""A study's directory made by hand: what a run would have left, without a run.

In: a folder. Out: the files of a study with eight arms and hostile texts.
Knows nothing of: models, training, how the real numbers come about.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from tuneproof.atomic import write_json, write_text, write_with
from tuneproof.inference.prediction import Predictions, write_predictions
from tuneproof.metrics import METRICS, LabelItems, evaluate, why_not_computable
from tuneproof.record.study_folder import arm_folder

LABELS = ("negative", "positive")
HOSTILE = (
    "<script>alert(1)</script> a fine film",
    "]]> --> </script><img src=x onerror=alert(1)> dull",
    "\u202egnitirw desrever\u202c and \x1b[31mred\x1b[0m",
    "a|b `c` [link](https://example.org) **bold** \u2028 next",
    "{{ 7 * 7 }} {% raw %} ${x} &lt;b&gt;",
)
PROSE = (
    "a quiet film that grows on you slowly and then all at once the plot never finds its feet "
    "though the actors try warm funny sly overlong charming but thin not bad at all by the end "
    "nobody cares who did it the camera loves her a feast for the eyes and little for the mind"
)
WORDS = PROSE.split()


def texts(size: int) -> list[str]:
    """Hostile ones first, then sentences of 3 to 60 words."""
    rng = np.random.default_rng(1)
    plain = [" ".join(rng.choice(WORDS, rng.integers(3, 60))) for _ in range(size - len(HOSTILE))]
    return [*HOSTILE, *plain]


def predictions(size: int, skill: float, seed: int, unparsed: float, sure: bool) -> Predictions:
    """Items alternate between the labels; hard items are hard for every arm."""
    rng, hard = np.random.default_rng(seed), np.random.default_rng(7).random(size)
    gold_N = np.arange(size) % 2
    right_N = hard + rng.normal(0, 0.12, size) < skill
    right_N[: len(HOSTILE)] = skill > 0.85  # the hostile texts flip between head and full
    predicted_N = np.where(right_N, gold_N, 1 - gold_N)
    margin_N = np.clip(0.5 + np.abs(skill - hard) * 0.6, 0.5, 0.99)
    top_NC = np.where(predicted_N[:, None] == np.arange(2), margin_N[:, None], 1 - margin_N[:, None])
    sharp_NC = top_NC**2 / (top_NC**2).sum(axis=1, keepdims=True)
    predicted_N = np.where(rng.random(size) < unparsed, -1, predicted_N)
    return Predictions(
        labels=LABELS,
        ids=[f"item-{i}" for i in range(size)],
        groups=[f"film {i // 4}" for i in range(size)],
        gold_N=gold_N,
        predicted_N=predicted_N,
        tokens_N=np.full(size, 20),
        truncated_N=np.zeros(size, dtype=bool),
        probabilities_NC=top_NC if sure else None,
        uncalibrated_NC=sharp_NC if sure else None,
    )


def scores(tables: list[Predictions]) -> dict[str, Any]:
    """Means over tables with intervals of the right size."""
    found = {}
    for name, metric in METRICS.items():
        items = [LabelItems(t.labels, t.gold_N, t.predicted_N, t.probabilities_NC) for t in tables]
        if why_not_computable(metric, items[0]):
            continue
        value = float(np.mean([evaluate(metric, one) for one in items]))
        half = 1.96 * math.sqrt(max(value * (1 - value), 0.002) / len(tables[0])) if value < 1 else 0.1
        high = min(value + half, metric.high)
        found[name] = {"value": value, "low": max(0.0, value - half), "high": high, "n": len(tables[0])}
    return found


def steps(count: int, peak: float, start: float, seed: int) -> list[dict[str, Any]]:
    """A falling loss, a rate that rises and falls, dev twice an epoch of a third of the steps."""
    rng = np.random.default_rng(seed)
    made = []
    for step in range(1, count + 1):
        share = step / count
        ask = step % max(1, count // 6) == 0
        loss = 0.15 + start * math.exp(-4 * share) + abs(rng.normal(0, 0.04))
        made.append(
            {
                "step": step,
                "epoch": 3 * share,
                "loss": loss,
                "dev_loss": 0.27 + start * math.exp(-5 * share) + 0.12 * share**2 if ask else None,
                "dev_accuracy": 0.9 - 0.4 * math.exp(-5 * share) if ask else None,
                "learning_rate": peak * min(share / 0.06, (1 - share) / 0.94),
                "gradient_norm": 1.2 * math.exp(-2 * share) + abs(rng.normal(0, 0.2)),
                "tokens_per_s": 5000.0,
                "time_s": 0.2 * step,
            }
        )
    return made


def prompt() -> list[dict[str, Any]]:
    """One hostile item as a model saw it, its last token supervised."""
    tokens = ["<s>", "Review", ":", " <script>", "alert", "(1)", "</script>", "\n", "Label", ":", " positive"]
    marks = [False] * (len(tokens) - 1) + [True]
    return [{"id": "item-0", "text": HOSTILE[0], "tokens": tokens, "supervised": marks}]


ARMS: tuple[dict[str, Any], ...] = (
    {"arm": "majority", "kind": "baseline", "skill": 0.5, "time": 0.01},
    {"arm": "lexical", "kind": "baseline", "skill": 0.81, "time": 2.1, "sure": True},
    {"arm": "zero-shot", "kind": "prompt", "skill": 0.62, "unparsed": 0.12, "time": 31.0},
    {"arm": "few-shot", "kind": "prompt", "status": "impossible"},
    {"arm": "head", "kind": "tuned", "skill": 0.83, "time": 44.0, "sure": True, "trainable": 770},
    {
        "arm": "lora",
        "kind": "tuned",
        "skill": 0.9,
        "time": 230.0,
        "sure": True,
        "trainable": 300_000,
        "seeds": (0,),
        "steps": 400,
        "peak": 5e-4,
    },
    {
        "arm": "full",
        "kind": "tuned",
        "skill": 0.915,
        "time": 520.0,
        "sure": True,
        "trainable": 22_713_986,
        "seeds": (0, 1),
        "steps": 600,
        "peak": 5e-5,
    },
)
BASE = 22_713_216
RATE = {
    "tokens_per_s": 5000.0,
    "step_s": 0.2,
    "steps": 399,
    "flops_per_token": 1.3e8,
    "peak_flops_per_s": 1.05e12,
    "mfu": 0.62,
    "step_bytes": 7.5e8,
    "peak_bandwidth_bytes_per_s": 4.6e11,
    "bandwidth_utilization": 0.0081,
}
MODEL = "minilm"


def write_arm(folder: Path, order: int, arm: dict[str, Any], seed: int | None, size: int) -> Any:
    """One arm's folder; gives back its predictions, or None where it has none."""
    model = None if arm["kind"] == "baseline" else MODEL
    place = arm_folder(folder, model, arm["arm"], seed)
    done = arm.get("status", "done") == "done"
    about = {
        "arm": arm["arm"],
        "model": model,
        "method": arm["arm"],
        "kind": arm["kind"],
        "seed": seed,
        "order": order,
        "options": {},
        "status": arm.get("status", "done"),
        "reason": "" if done else "the model's positions hold 8 tokens and 4 shots need <512>",
        "time_s": {"train": arm["time"] * 0.8, "predict": arm["time"] * 0.2} if done else {},
        "items_per_s": size / (arm["time"] * 0.2) if done else None,
        "peak_memory_bytes": int(3e8 + 4e6 * arm["time"]) if done else None,
        "chosen": {"epoch": 2, "temperature": 1.3} if arm.get("steps") else {},
        "encoding": {"max_length": 128, "truncated_items": 3, "padding_share": 0.1} if model else {},
        "prompts": prompt() if model and done else [],
        "notes": [],
    }
    write_json(place / "arm.json", about)
    if not done:
        return None
    table = predictions(
        size, arm["skill"], 100 * order + (seed or 0), arm.get("unparsed", 0), bool(arm.get("sure"))
    )
    write_predictions(place / "predictions.parquet", table, {"arm": arm["arm"]})
    write_json(place / "scores.json", scores([table]))
    if model:
        new = 770 if arm.get("trainable") else 0
        lines = (
            [{"part": "added head", "count": new, "reason": "384 × 2 weights and 2 biases"}] if new else []
        )
        ledger = {"total": BASE + new, "trainable": arm.get("trainable", 0), "base": BASE, "lines": lines}
        if arm.get("steps"):
            ledger["memory"] = memory(arm.get("trainable", 0))
            ledger["training_speed"] = RATE
        write_json(place / "ledger.json", ledger)
    if arm.get("steps"):
        rows = steps(arm["steps"], arm["peak"], 0.6, seed or 0)
        write_text(place / "steps.jsonl", "\n".join(json_line(row) for row in rows) + "\n")
    return table


def memory(trainable: int) -> dict[str, Any]:
    """A prediction in the parts that a peak has, and what was measured."""
    train = {
        "weights": 4 * BASE,
        "gradients": 4 * trainable,
        "optimizer": 8 * trainable,
        "activations": 60_000_000,
        "logits": 0,
        "cache": 0,
        "temporary": 9_000_000,
    }
    tensors = sum(train.values())
    overhead = {"device": "cpu", "description": "kernels that oneDNN caches (<b>80</b> MiB)"}
    return {
        "limit_bytes": 15 * 10**9,
        "predicted": {
            "train": train,
            "predict": None,
            "overhead": overhead,
            "tensors_bytes": tensors,
            "total_bytes": tensors + 10**7,
        },
        "settings": {"predict.batch_size": 32, "train.micro_batch": 4, "train.gradient_checkpointing": True},
        "predicted_bytes": tensors + 10**7,
        "measured_bytes": tensors,
        "measured_by": "resident memory beside what was there before the arm",
        "error": 10**7 / tensors,
    }


def json_line(row: dict[str, Any]) -> str:
    """One line of steps.jsonl."""
    import json

    return json.dumps(row)


def compared(arm: str, over: str, tables: dict[str, list[Predictions]], claim: bool) -> dict[str, Any]:
    """A comparison with plausible numbers from the two arms' first tables."""
    new, old = tables[arm][0], tables[over][0]
    size = len(new)
    right, was = new.predicted_N == new.gold_N, old.predicted_N == old.gold_N
    only, other = int((right & ~was).sum()), int((~right & was).sum())
    gap = (only - other) / size
    half = 1.96 * math.sqrt(max(only + other, 1)) / size
    outcome = "better" if gap > half else "worse" if gap < -half else "cannot tell"
    return {
        "arm": arm,
        "over": over,
        "metric": "accuracy",
        "value": float(right.mean()),
        "over_value": float(was.mean()),
        "difference": gap,
        "low": gap - half,
        "high": gap + half,
        "p_value": 0.0004 if outcome != "cannot tell" else 0.31,
        "p_adjusted": 0.0012 if outcome != "cannot tell" else 0.31,
        "test": "mid-p McNemar",
        "only_arm_right": only,
        "only_over_right": other,
        "n": size,
        "clusters": size // 4,
        "seeds": 1,
        "mde": 2.8 * half / 1.96,
        "outcome": outcome,
        "sentence": f"{arm} is {outcome} against {over}: {100 * gap:+.1f} points on {size} items.",
        "claim": claim,
    }


def write_study(folder: Path, size: int = 120, leak_safe: bool = True) -> Path:
    """The whole study; `size` test items."""
    tables: dict[str, list[Predictions]] = {}
    for order, arm in enumerate(ARMS):
        for seed in arm.get("seeds", (None,)):
            table = write_arm(folder, order, arm, seed, size)
            if table is not None:
                tables.setdefault(arm["arm"], []).append(table)
    pairs = [
        ("full", "head"),
        ("lora", "head"),
        ("head", "lexical"),
        ("full", "lora"),
        ("lexical", "majority"),
    ]
    comparisons = [compared(a, b, tables, i == 0) for i, (a, b) in enumerate(pairs)]
    models = {arm["arm"]: None if arm["kind"] == "baseline" else MODEL for arm in ARMS}
    pooled = [{"arm": a, "model": models[a], "scores": scores(t)} for a, t in tables.items()]
    verdict = {
        "outcome": comparisons[0]["outcome"],
        "sentence": "full is better than head: "
        f"{100 * comparisons[0]['difference']:+.1f} points of accuracy on the same {size} test items.",
    }
    write_json(
        folder / "comparisons.json",
        {
            "comparisons": comparisons,
            "arms": pooled,
            "verdict": verdict,
            "by_train_size": by_train_size(models, tables, comparisons[0]),
        },
    )
    write_items(folder, size)
    write_rest(folder, size, leak_safe)
    return folder


def by_train_size(
    models: dict[str, Any], tables: dict[str, list[Predictions]], gain: dict[str, Any]
) -> list[dict[str, Any]]:
    """Three arms on 50 and 400 items and on the whole, each a little better than before."""
    made = []
    for arm in ("lexical", "head", "full"):
        whole = scores(tables[arm])["accuracy"]
        for size, less in ((50, 0.15), (400, 0.04), (4000, 0.0)):
            score = {**whole, **{key: whole[key] - less for key in ("value", "low", "high")}}
            outcome = "better" if size == 50 else "cannot tell"
            made.append(
                {
                    "arm": arm,
                    "model": models[arm],
                    "train_size": size,
                    "seeds": 2,
                    "metric": "accuracy",
                    "score": score,
                    "gain_from_full_train": {**gain, "outcome": outcome} if less else None,
                }
            )
    return made


def write_items(folder: Path, size: int) -> None:
    """items.parquet with the test part and one train item."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {
        "id": ["train-0", *(f"item-{i}" for i in range(size))],
        "part": ["train", *["test"] * size],
        "text": ["a train text", *texts(size)],
        "gold": ["negative", *(LABELS[i % 2] for i in range(size))],
        "group": ["film x", *(f"film {i // 4}" for i in range(size))],
        "own.<b>source": ["web", *(HOSTILE[i % 3] for i in range(size))],
    }
    write_with(folder / "items.parquet", lambda path: pq.write_table(pa.table(rows), path))


def write_rest(folder: Path, size: int, leak_safe: bool) -> None:
    """Recipe, splits, audit, provenance."""
    write_text(
        folder / "recipe.yaml",
        "task:\n  sst2: {}\nmodels:\n- minilm\nscore:\n  level: 0.95\n# </script><b>\n",
    )
    overlap = {"items": 118, "share": 0.989, "examples": [{"test": HOSTILE[0], "train": HOSTILE[1]}]}
    safe = {"items": 0, "share": 0.0, "examples": []}
    write_json(
        folder / "splits.json",
        {
            "kind": "shares",
            "sizes": {"train": 4000, "dev": 400, "test": size},
            "labels": {
                "train": {"negative": 2000, "positive": 2000},
                "test": {"negative": size // 2, "positive": size - size // 2},
            },
            "groups": size // 4,
            "dropped": {"empty text": 2},
            "overlap": safe if leak_safe else overlap,
            "leak_safe": leak_safe,
            "fingerprints": {"test": "0f" * 32},
        },
    )
    found = [
        ("token lengths", "note", "Median 18, longest 61.", 61, []),
        (
            "near duplicates",
            "warning",
            "2 test items also stand in train.",
            2,
            [HOSTILE[0], {"test": "item-1", "train": "train-0", "text": HOSTILE[2]}],
        ),
    ]
    keys = ("name", "level", "message", "count", "examples")
    findings = [{**dict(zip(keys, one, strict=True)), "allowed_by": None} for one in found]
    write_json(folder / "audit.json", {"checks": ["empty texts"], "findings": findings})
    write_json(
        folder / "provenance.json",
        {
            "made_at": "2026-01-02T03:04:05+00:00",
            "command": "tuneproof run recipe.yaml",
            "versions": {"python": "3.11.2", "torch": "2.13.0"},
            "hardware": {"processor": "a processor", "cores": 2, "memory_bytes": 8 * 2**30},
            "git": None,
        },
    )
