"""EM and F1 as the official script counts them: on its own dev file, and by their rules."""

import gzip
import json
import string
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneproof.metrics import METRICS, AnswerItems, evaluate
from tuneproof.metrics.matching import best_of, normalise_answer

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "squad_v2"
HERE = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/squad_v2 is not there")


def official() -> tuple[list[str], list[tuple[str, ...]]]:
    """Ids and golds of the official dev file."""
    data = json.loads(gzip.decompress((DATA / "dev-v2.0.json.gz").read_bytes()))["data"]
    asked = [q for article in data for p in article["paragraphs"] for q in p["qas"]]
    return [q["id"] for q in asked], [tuple(a["text"] for a in q["answers"]) for q in asked]


@HERE
def test_a_real_system_has_the_figures_of_the_official_script_in_three_seconds():
    ids, golds = official()
    said = json.loads(gzip.decompress((DATA / "predictions_bert_single.json.gz").read_bytes()))
    items = AnswerItems(golds, [said[name] for name in ids])
    best_of.cache_clear()
    begun = time.perf_counter()
    found = {name: 100 * evaluate(METRICS[name], items) for name in METRICS if "squad" in name}
    assert time.perf_counter() - begun < 3
    assert len(items) == 11_873
    assert found["squad_exact"] == pytest.approx(78.74168280973637, abs=1e-9)
    assert found["squad_f1"] == pytest.approx(81.77528052374723, abs=1e-9)
    has, no = items.answerable_N.mean(), 1 - items.answerable_N.mean()
    parts = has * found["squad_f1_has_answer"] + no * found["squad_no_answer"]
    assert parts == pytest.approx(found["squad_f1"])


@HERE
def test_never_answering_scores_the_share_of_unanswerable_questions():
    _, golds = official()
    items = AnswerItems(golds, [""] * len(golds))
    for name in ("squad_exact", "squad_f1"):
        assert 100 * evaluate(METRICS[name], items) == pytest.approx(50.07, abs=0.005)
    assert evaluate(METRICS["squad_no_answer"], items) == 1
    assert evaluate(METRICS["squad_f1_has_answer"], items) == 0


@given(st.text())
def test_normalising_twice_is_normalising_once(text):
    assert normalise_answer(normalise_answer(text)) == normalise_answer(text)


@given(st.text())
def test_what_is_normalised_has_no_ascii_punctuation_no_article_and_single_spaces(text):
    found = normalise_answer(text)
    assert not set(found) & set(string.punctuation)
    assert not set(found.split(" ")) & {"a", "an", "the"}
    assert found == " ".join(found.split())


@given(st.lists(st.text(max_size=12), min_size=1, max_size=4), st.text(max_size=12), st.randoms())
def test_the_order_of_the_golds_is_free(golds, text, random):
    shuffled = list(golds)
    random.shuffle(shuffled)
    assert best_of(tuple(shuffled), text) == best_of(tuple(golds), text)


@given(st.text(max_size=20), st.text(max_size=20))
def test_f1_is_symmetric_and_at_least_exact_match(one, other):
    exact, f1 = best_of((one,), other)
    assert f1 == pytest.approx(best_of((other,), one)[1])
    assert exact <= f1 <= 1


@pytest.mark.parametrize(
    ("gold", "said", "exact", "f1"),
    [
        ("The Denver Broncos", "denver broncos!", 1, 1),
        ("an apple", "Apple", 1, 1),
        ("theatre", "the atre", 0, 0),
        ("U.S.", "us", 1, 1),
        ("naïve Café", "NAÏVE CAFÉ", 1, 1),
        ("1066–1087", "1066-1087", 0, 0),  # the dash is no ASCII punctuation and stays
        ("in 1066", "1066", 0, 2 / 3),
        ("to be or not to be", "to be", 0, 0.5),
        ("", "", 1, 1),
        ("", "the", 1, 1),  # an article alone is no word
        ("", "x", 0, 0),
        ("x", "", 0, 0),
    ],
)
def test_worked_examples(gold, said, exact, f1):
    assert best_of((gold,), said) == (exact, pytest.approx(f1))


def test_golds_without_a_word_count_as_none_unless_there_is_no_other():
    assert best_of(("the", "Paris"), "") == (0, 0)
    assert best_of(("the",), "") == (1, 1)
    assert best_of((), "") == (1, 1)
    assert best_of((), "Paris") == (0, 0)


def test_where_all_is_answerable_the_figures_are_those_of_version_one():
    items = AnswerItems([("a b",), ("c",)], ["b", "c"])
    assert evaluate(METRICS["squad_f1"], items) == evaluate(METRICS["squad_f1_has_answer"], items)
    assert evaluate(METRICS["squad_exact"], items) == pytest.approx(1)
    assert np.array_equal(items.right_N, [True, True])
