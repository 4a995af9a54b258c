"""Claims and other pairs apart, with the columns that they fill, and what the headers mean."""

from typing import Any

import pytest

from tuneproof.report.comparison_tables import (
    CLAIMS,
    OTHERS,
    RECOMMENDED,
    compared_pairs,
    comparison_table,
    comparison_terms,
)

PAIR = {
    "arm": "a",
    "over": "b",
    "metric": "accuracy",
    "difference": 0.1,
    "low": 0.05,
    "high": 0.15,
    "p_value": 0.01,
    "p_adjusted": 0.01,
    "claims": 1,
    "look_factor": 1,
    "mde": 0.07,
    "claim": True,
    "only_arm_right": 30,
    "only_over_right": 10,
    "n": 200,
    "margin": None,
    "outcome": "better",
}
OTHER = {**PAIR, "claim": False}


def tables_of(*pairs: dict[str, Any], recommended: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    parts = compared_pairs(pairs, recommended)
    return {title: comparison_table(some, "") for title, some in parts.items() if some}


def terms_of(*pairs: dict[str, Any], recommended: tuple[dict[str, Any], ...] = ()) -> dict[str, str]:
    made = tables_of(*pairs, recommended=recommended)
    return dict(comparison_terms(compared_pairs(pairs, recommended), list(made.values())))


def test_a_column_of_corrected_p_stands_only_where_a_claim_has_one() -> None:
    assert "p (Holm)" not in tables_of(PAIR, OTHER)[CLAIMS].header
    corrected = {**PAIR, "claims": 3, "p_adjusted": 0.03}
    made = tables_of(corrected, {**corrected, "arm": "c"}, OTHER)
    claims, others = made[CLAIMS], made[OTHERS]
    assert [row[claims.header.index("p (Holm)")] for row in claims.rows] == ["0.03", "0.03"]
    assert "p (Holm)" not in others.header
    assert "Margin" not in others.header
    assert len(others.rows) == 1
    assert list(tables_of(OTHER)) == [OTHERS]


@pytest.mark.parametrize(
    ("claims", "values", "text"),
    [
        (2, {"claims": 2}, "p corrected for 2 claims."),
        (
            1,
            {"claims": 23},
            "p corrected for all 23 comparisons, any of which could have become the claim: it",
        ),
        (1, {"look_factor": 6}, "p times 6, since seeds were added after results."),
        (2, {"claims": 2, "look_factor": 6}, "p corrected for 2 claims, and times 6, since seeds were added"),
    ],
)
def test_the_family_of_a_correction_is_explained(claims, values, text) -> None:
    pairs = [{**PAIR, **values, "p_adjusted": 0.03, "arm": f"a{i}"} for i in range(claims)]
    assert terms_of(*pairs, OTHER)["p (Holm)"].startswith(text)


def test_every_header_that_is_no_plain_word_is_explained_where_it_stands() -> None:
    plain = {
        **PAIR,
        "margin": 0.02,
        "margin_outcome": "better by more",
        "claims": 2,
        "level": 0.9,
        "power": 0.5,
    }
    terms = terms_of(plain, OTHER)
    assert set(terms) == {"Difference", "p", "p (Holm)", "MDE", "Discordant", "n", "Margin"}
    assert "90 % confidence interval" in terms["Difference"]
    assert "50 % of such studies" in terms["MDE"]
    assert set(terms_of({**OTHER, "mde": None})) == {"Difference", "p", "Discordant", "n"}
    assert terms_of() == {}


def test_the_recommended_arms_pairs_have_a_table_of_their_own_and_stand_in_no_other() -> None:
    corrected = {**OTHER, "claims": 8, "p_adjusted": 0.08, "arm": "best"}
    reverse = {**OTHER, "arm": "b", "over": "best"}
    made = tables_of(PAIR, OTHER, reverse, recommended=(corrected,))
    assert [row[0] for row in made[RECOMMENDED].rows] == ["best over b"]
    assert made[RECOMMENDED].rows[0][made[RECOMMENDED].header.index("p (Holm)")] == "0.08"
    assert [row[0] for row in made[OTHERS].rows] == ["a over b"], "b over best is the recommended arm's pair"
    terms = terms_of(PAIR, OTHER, recommended=(corrected,))
    assert "for the 8 comparisons of the best arm on dev" in terms["p (Holm)"]


def test_uncorrected_p_is_explained_only_where_a_pair_has_one() -> None:
    corrected = {**OTHER, "claims": 8, "p_adjusted": 0.08, "arm": "best"}
    assert "one time in 20" not in terms_of(PAIR, recommended=(corrected,))["p"]
    assert "two equally good arms still get a p below 0.05 one time in 20" in terms_of(OTHER)["p"]
