"""The learning rate of an arm whose recipe sets none: by what trains and by the width of the model.

In: what trains, the hidden size of the model's text configuration. Out: peak learning rates of AdamW.
Knows nothing of: models, data, the training loop.
"""

from dataclasses import dataclass
from typing import Literal

TrainedPart = Literal["adapter", "full"]


@dataclass(frozen=True)
class RateRule:
    """rate · (width / the model's width) ** power, from `lowest` to `highest`."""

    rate: float
    width: int
    power: float
    highest: float
    lowest: float = 0.0

    def __str__(self) -> str:
        lowest = f"at least {self.lowest:g}, " if self.lowest else ""
        return f"{self.rate:g} · ({self.width}/size)^{self.power:g}, {lowest}at most {self.highest:g}"


RULES: dict[TrainedPart, RateRule] = {
    "adapter": RateRule(rate=2e-4, width=768, power=1.6, highest=2e-3, lowest=2e-4),
    "full": RateRule(rate=3e-5, width=768, power=1.0, highest=2e-4),
}
AUTO_FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)  # on the rule's rate: what `learning_rate: auto` tries
DESCRIPTION = f"""Peak learning rate of AdamW. Default: by the model's hidden size; `check` prints it.
    Adapters: {RULES["adapter"]} (Dettmers et al. 2023, arXiv:2305.14314, appendix B: 2e-4).
    The base's own weights: {RULES["full"]} (Devlin et al. 2019: 2e-5 to 5e-5).
    auto: searched on dev around that rate, as by search: {{learning_rate: auto}}."""


def default_learning_rate(kind: TrainedPart, width: int | None) -> float:
    """The peak learning rate, rounded to two digits.

    kind: adapter (the base's own weights stay as they are) or full (they train). width: hidden size of the
    text model; None: unknown, the rule's own width is assumed.

    Source: Dettmers et al. 2023, QLoRA, arXiv:2305.14314, appendix B (2e-4 at batch 16, widths of 4,096 and
    5,120); Schulman 2025, LoRA Without Regret (adapters at about ten times full, higher on narrower models);
    Devlin et al. 2019, arXiv:1810.04805, appendix A.3 (2e-5 to 5e-5 at a width of 768).
    Differs: the power and the bounds are of our own experiment, `python -m benchmarks defaults`.
    """
    rule = RULES[kind]
    factor = (rule.width / width) ** rule.power if width else 1.0
    return _two_digits(max(rule.lowest, min(rule.highest, rule.rate * factor)))


def rates_to_try(rate: float) -> tuple[float, ...]:
    """The learning rates that `auto` tries around a rate, the lowest first."""
    return tuple(_two_digits(min(1.0, rate * factor)) for factor in AUTO_FACTORS)


def _two_digits(rate: float) -> float:
    return float(f"{rate:.1e}")
