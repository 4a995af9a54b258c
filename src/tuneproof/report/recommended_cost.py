"""What the recommended arm costs, in one or two sentences.

In: its costs, the prices. Out: sentences. Knows nothing of: studies, other arms.
"""

from collections.abc import Mapping

from tuneproof.record.costs import ArmCost
from tuneproof.report.cost_text import NAMES, amount_text, cost_text, latency_text
from tuneproof.report.prices import prices_text
from tuneproof.score.verdict import join_names
from tuneproof.settings import PriceSettings


def recommended_cost(cost: ArmCost, prices: PriceSettings | None, count: float) -> str:
    """What the arm costs, in one or two sentences, with the prices; count: for how many items."""
    single = _single_item(cost.latency_s)
    if cost.per_item is None:
        return f"The cost of an item is not known: {cost.reason}.{single}"
    paid = f"{amount_text(cost.per_items(count), cost.unit)} for {NAMES[count]}{_once(cost)}"
    if prices is None:
        return f"{paid}, in time of this machine.{single} Prices turn it into money."
    return f"{paid} (prices: {prices_text(prices)}).{single}"


def _single_item(latency_s: Mapping[str, float]) -> str:
    """How long one item takes, and of how many calls that is known."""
    if not latency_s:
        return ""
    tail = next((name for name in ("p99", "p95") if name in latency_s), None)
    tail_text = f"; {tail[1:]} % take at most {latency_text(latency_s[tail])}" if tail else ""
    calls = f" of {latency_s['calls']:.0f} calls" if "calls" in latency_s else ""
    return f" A single item takes {latency_text(latency_s['p50'])} (median{calls}{tail_text})."


def _once(cost: ArmCost) -> str:
    parts = [("training", cost.training), (f"{cost.labels or 0:,} labels", cost.label_cost)]
    named = [f"{cost_text(value, cost.unit)} for {name}" for name, value in parts if value]
    return f", and once {join_names(named)}" if named else ""
