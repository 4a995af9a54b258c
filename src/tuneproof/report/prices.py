"""The prices that the user gave, in words.

In: a study's recipe. Out: one phrase. Knows nothing of: costs, arms.
"""

from tuneproof.errors import RecipeError, RunError
from tuneproof.record.finished_arms import read_study_recipe
from tuneproof.record.study_folder import StudyRecord
from tuneproof.report.cost_text import price_text
from tuneproof.settings import PriceSettings, TokenPrices


def study_prices(study: StudyRecord) -> PriceSettings | None:
    """The prices of a study's recipe; None where it gives none or cannot be read any more."""
    try:
        prices = read_study_recipe(study.folder).prices
    except (RecipeError, RunError):
        return None
    return prices if prices.are_given else None


def prices_text(prices: PriceSettings) -> str:
    """Every price with its unit: 0.6 EUR an hour of this machine, 0.08 EUR a label."""
    unit = prices.currency
    parts = [f"{price_text(prices.per_hour, unit)} an hour of this machine"]
    if prices.per_label is not None:
        parts.append(f"{price_text(prices.per_label, unit)} a label")
    parts += _token_prices(prices.per_million_tokens, unit)
    for name, own in prices.arms.items():
        whole = own.per_thousand_items
        listed = [] if whole is None else [f"{price_text(whole, unit)} for 1,000 items"]
        parts += [f"{name}: {price}" for price in (*listed, *_token_prices(own.per_million_tokens, unit))]
    return ", ".join(parts)


def _token_prices(tokens: TokenPrices | None, unit: str) -> list[str]:
    if tokens is None:
        return []
    read, written = (price_text(price, unit) for price in (tokens.input, tokens.output))
    return [f"{read} a million tokens read and {written} written"]
