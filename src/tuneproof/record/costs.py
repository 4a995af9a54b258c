"""What each arm of a study costs: once, and for an item, in money where the recipe has prices.

In: a study read back. Out: an ArmCost for each finished arm.
Knows nothing of: scores, how times were measured.

An item costs the time of this machine at the best size of a batch, all of it in use, or what a system made
elsewhere is paid. A cost that was not measured is None, never zero.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuneproof.errors import RecipeError, RunError
from tuneproof.record.finished_arms import read_study_recipe
from tuneproof.record.study_folder import WEIGHTS, ArmRecord, StudyRecord
from tuneproof.score.cost import Amount, BreakEven, break_even, measured
from tuneproof.settings import ArmPrices, PriceSettings, TokenPrices

SECONDS = "s"
NOT_TRAINING = ("load", "predict")  # stages that every use has; all others are paid once
ELSEWHERE = ("finished", "system")  # what making it cost is not known
MILLION, THOUSAND, HOUR_S = 1e6, 1000, 3600


@dataclass(frozen=True)
class ArmCost:
    """The cost of one arm with its seeds; times are means over them, and once is one training.

    unit: the currency, or "s". per_item: None where it is not known. once: training and labels together.
    labels: items of train and dev that it learns from, None where it was made
    elsewhere. disk_bytes: its weights, with the model under them.
    reason: why per_item is not known.
    """

    arm: str
    model: str | None
    unit: str
    per_item: Amount | None
    training: float | None
    label_cost: float | None
    labels: int | None
    training_s: float | None
    latency_s: dict[str, float]
    batch_size: int | None
    items_per_s: float | None
    disk_bytes: int | None
    peak_memory_bytes: int | None
    reason: str = ""

    @property
    def once(self) -> float:
        """What is paid once."""
        return (self.training or 0.0) + (self.label_cost or 0.0)

    @property
    def per_thousand(self) -> Amount | None:
        """The cost of 1,000 items."""
        return self.per_items(THOUSAND)

    def per_items(self, count: float) -> Amount | None:
        """The cost of so many items."""
        return self.per_item.times(count) if self.per_item else None

    def pays_against(self, over: "ArmCost") -> BreakEven | None:
        """From how many items on it is cheaper than another; None where a cost is not known."""
        if self.per_item is None or over.per_item is None:
            return None
        return break_even(self.once, self.per_item, over.once, over.per_item)

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values, with the costs of 1,000 items in place of one."""
        values = asdict(self)
        del values["per_item"]
        per_thousand = self.per_thousand
        return {**values, "once": self.once, "per_1000_items": per_thousand and asdict(per_thousand)}


def study_costs(study: StudyRecord) -> list[ArmCost]:
    """The costs of the finished arms in their order; none where the recipe cannot be read any more."""
    try:
        prices = read_study_recipe(study.folder).prices
    except (RecipeError, RunError):
        return []
    arms: dict[tuple[str, str | None], list[ArmRecord]] = {}
    for record in study.arms:
        if record.about.get("status") == "done":
            arms.setdefault((record.about["arm"], record.about.get("model")), []).append(record)
    sizes = study.splits.get("sizes") or {}
    return [_arm_cost(records, prices, sizes) for records in arms.values()]


def _arm_cost(records: Sequence[ArmRecord], prices: PriceSettings, sizes: dict[str, Any]) -> ArmCost:
    about = [record.about for record in records]
    timed = [entry["serving"] for entry in about if (entry.get("serving") or {}).get("item_s")]
    item_s = _item_s(about, timed)
    own = prices.arms.get(about[0]["arm"]) or ArmPrices.model_validate({})
    read = sum(int(sizes.get(part) or 0) for part in ("dev", "test"))
    is_elsewhere = about[0].get("kind") == "system" and not timed
    per_item, reason = _per_item(item_s, _usage(records), read, prices, own, is_elsewhere)
    training_s = _mean([seconds for entry in about if (seconds := training_seconds(entry)) is not None])
    second = prices.per_hour / HOUR_S if prices.per_hour is not None else 1.0
    labels = label_count(about[0], sizes)
    latencies = [entry["latency_s"] for entry in timed]
    names = [name for name in (latencies[0] if latencies else ()) if all(name in one for one in latencies)]
    peaks = [entry.get("peak_memory_bytes") or 0 for entry in about]
    return ArmCost(
        arm=about[0]["arm"],
        model=about[0].get("model"),
        unit=prices.currency if prices.are_given else SECONDS,
        per_item=per_item,
        training=None if training_s is None else training_s * second,
        label_cost=None if prices.per_label is None or labels is None else prices.per_label * labels,
        labels=labels,
        training_s=training_s,
        latency_s={name: _mean([one[name] for one in latencies]) or 0.0 for name in names},
        batch_size=timed[0]["batch_size"] if timed else None,
        items_per_s=1 / item_s.value if item_s and item_s.value else None,
        disk_bytes=_disk_bytes(records[0]),
        peak_memory_bytes=None if about[0].get("kind") == "system" else max(peaks) or None,
        reason=reason,
    )


def _item_s(about: Sequence[dict[str, Any]], timed: Sequence[dict[str, Any]]) -> Amount | None:
    """Seconds an item: as timed, else of all predictions of dev and test; None where neither is known."""
    if timed:
        return measured([value for entry in timed for value in entry["item_s"]])
    rates = [entry["items_per_s"] for entry in about if entry.get("items_per_s")]
    return measured([1 / rate for rate in rates]) if rates else None


def _per_item(
    item_s: Amount | None,
    usage: dict[str, float],
    items: int,
    prices: PriceSettings,
    own: ArmPrices,
    is_elsewhere: bool,
) -> tuple[Amount | None, str]:
    """The cost of an item, and why it is not known."""
    if own.per_thousand_items is not None:
        return _exact(own.per_thousand_items / THOUSAND), ""
    if is_elsewhere:
        tokens = own.per_million_tokens or prices.per_million_tokens
        return (
            _by_token(usage, items, tokens) if prices.are_given else (None, "it does not run on this machine")
        )
    if item_s is None:
        return None, "its predictions were not timed"
    return (item_s.times(prices.per_hour / HOUR_S) if prices.per_hour is not None else item_s), ""


def _by_token(usage: dict[str, float], items: int, tokens: TokenPrices | None) -> tuple[Amount | None, str]:
    if tokens is None:
        return None, "the recipe has no price for it"
    if not usage or not items:
        return None, "its tokens were not counted"
    paid = tokens.input * usage.get("input_tokens", 0) + tokens.output * usage.get("output_tokens", 0)
    return _exact(paid / MILLION / items), ""


def _exact(value: float) -> Amount:
    return Amount(value, value, value)


def _usage(records: Sequence[ArmRecord]) -> dict[str, float]:
    """The tokens that an arm read and wrote for dev and test, as a mean over its seeds."""
    usages = [record.about.get("usage") or record.ledger.get("usage") or {} for record in records]
    counted = [usage for usage in usages if usage]
    names = counted[0] if counted else ()
    return {name: _mean([usage.get(name, 0) for usage in counted]) or 0.0 for name in names}


def training_seconds(about: dict[str, Any]) -> float | None:
    """Seconds of training; of an exported arm those of the arm that it was; None: made elsewhere."""
    if about.get("kind") in ELSEWHERE:
        seconds = _origin(about).get("training_s")
        return None if seconds is None else float(seconds)
    return sum(value for stage, value in (about.get("time_s") or {}).items() if stage not in NOT_TRAINING)


def label_count(about: dict[str, Any], sizes: dict[str, Any]) -> int | None:
    """Labelled items that the arm needs: all of train and dev, or its shots; None: made elsewhere."""
    if about.get("kind") in ELSEWHERE:
        labels = _origin(about).get("labels")
        return None if labels is None else int(labels)
    if about.get("kind") in ("baseline", "tuned"):
        return sum(int(sizes.get(part) or 0) for part in ("train", "dev"))
    return len((about.get("chosen") or {}).get("shots") or [])


def _origin(about: dict[str, Any]) -> dict[str, Any]:
    """What an exported model says of the arm that it was; empty of other arms."""
    return (about.get("chosen") or {}).get("origin") or {}


def _disk_bytes(record: ArmRecord) -> int | None:
    """The arm's weights, and those of the model where the arm does not hold them itself."""
    exported = (record.about.get("chosen") or {}).get("size_bytes")
    if exported:
        return int(exported)
    folder = record.folder / WEIGHTS
    own = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    whole = any(folder.glob("model*.safetensors")) and not (folder / "adapter_config.json").is_file()
    base = 0 if whole else int(record.about.get("model_bytes") or 0)
    return own + base or None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
