"""The demo's reviews are varied, split by group, and not solved by counting words."""

import json
import re
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import pytest

import tuneproof

FOLDER = Path(tuneproof.__file__).parent / "tasks" / "demo"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    lines = (FOLDER / "reviews.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def words(rows) -> list[list[str]]:
    return [re.findall(r"\w+(?:'\w+)?", row["text"].lower()) for row in rows]


def test_every_row_has_exactly_the_fields_of_the_card(rows):
    assert {tuple(row) for row in rows} == {("id", "text", "label", "group", "domain", "part")}
    assert {row["label"] for row in rows} == {"positive", "negative"}
    assert {row["domain"] for row in rows} == {"film", "food", "product", "travel"}
    assert {row["part"] for row in rows} == {"train", "test"}


def test_there_are_enough_rows_with_unique_ids(rows):
    assert len(rows) >= 800
    assert sum(row["part"] == "test" for row in rows) >= 250
    assert len({row["id"] for row in rows}) == len(rows)


def test_no_group_stands_on_both_sides(rows):
    parts = defaultdict(set)
    for row in rows:
        parts[row["group"]].add(row["part"])
    assert {len(found) for found in parts.values()} == {1}


def test_a_group_holds_two_to_five_reviews_of_one_domain(rows):
    groups = defaultdict(list)
    for row in rows:
        groups[row["group"]].append(row["domain"])
    assert all(2 <= len(found) <= 5 and len(set(found)) == 1 for found in groups.values())


def test_reviews_are_three_to_sixty_words(rows):
    lengths = [len(row["text"].split()) for row in rows]
    assert min(lengths) >= 3
    assert max(lengths) <= 60
    assert sum(length <= 8 for length in lengths) >= 40
    assert sum(length >= 30 for length in lengths) >= 40


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("domain", ["film", "food", "product", "travel"])
def test_labels_are_balanced_in_each_part_and_domain(rows, part, domain):
    labels = Counter(r["label"] for r in rows if (r["part"], r["domain"]) == (part, domain))
    assert 0.45 <= labels["positive"] / labels.total() <= 0.55
    assert labels.total() >= (60 if part == "test" else 100)


def test_length_does_not_give_the_label_away(rows):
    def mean_words(label: str) -> float:
        lengths = [len(row["text"].split()) for row in rows if row["label"] == label]
        return sum(lengths) / len(lengths)

    assert abs(mean_words("positive") - mean_words("negative")) < 2


def test_four_word_phrases_hardly_repeat(words):
    phrases = [tuple(found[i : i + 4]) for found in words for i in range(len(found) - 3)]
    assert len(set(phrases)) / len(phrases) > 0.95


def test_no_opening_is_used_again_and_again(words):
    openings = Counter(tuple(found[:3]) for found in words)
    assert openings.most_common(1)[0][1] <= 5


def test_no_two_reviews_are_near_duplicates(rows, words):
    phrases = [{tuple(found[i : i + 3]) for i in range(len(found) - 2)} for found in words]
    holders = defaultdict(set)
    for row, found in enumerate(phrases):
        for phrase in found:
            holders[phrase].add(row)
    pairs = {pair for held in holders.values() for pair in combinations(sorted(held), 2)}
    close = [
        (rows[a]["id"], rows[b]["id"])
        for a, b in pairs
        if len(phrases[a] & phrases[b]) / len(phrases[a] | phrases[b]) >= 0.3
    ]
    assert close == []


def test_counting_words_does_not_solve_the_test_part(rows):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train = [row for row in rows if row["part"] == "train"]
    test = [row for row in rows if row["part"] == "test"]
    baseline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000)
    )
    baseline.fit([row["text"] for row in train], [row["label"] for row in train])
    accuracy = baseline.score([row["text"] for row in test], [row["label"] for row in test])
    assert 0.55 <= accuracy <= 0.85


def test_the_data_card_states_the_counts(rows):
    card = (FOLDER / "README.md").read_text("utf-8")
    for part in ("train", "test"):
        here = [row for row in rows if row["part"] == part]
        counts = [len(here), len({row["group"] for row in here})]
        counts += [sum(row["label"] == label for row in here) for label in ("positive", "negative")]
        for domain in ("film", "food", "product", "travel"):
            counts.append(sum(row["domain"] == domain for row in here))
        assert f"| {part} | " + " | ".join(map(str, counts)) + " |" in card
