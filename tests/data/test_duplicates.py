import numpy as np

from tuneproof.data.duplicates import find_near_pairs


def crowd(count: int, words: int, seed: int = 0) -> list[list[str]]:
    random = np.random.default_rng(seed)
    return [[f"w{number}" for number in random.integers(0, 5000, words)] for _ in range(count)]


def pairs(texts: list[str]) -> set[tuple[int, int]]:
    found = find_near_pairs(texts)
    return set(zip(found.first_M.tolist(), found.second_M.tolist(), strict=True))


def test_a_long_text_with_one_word_changed_is_found():
    texts = crowd(300, 200)
    changed = [words.copy() for words in texts[:50]]
    for words in changed:
        words[100] = "changed"
    found = pairs([" ".join(words) for words in [*texts, *changed]])
    assert found == {(i, 300 + i) for i in range(50)}


def test_short_texts_are_found_as_well():
    first = "one two three four five six seven eight nine ten eleven twelve thirteen"
    assert pairs([first, first + " fourteen", "something else altogether that shares no words"]) == {(0, 1)}


def test_half_a_text_is_not_near():
    words = crowd(1, 200)[0]
    assert pairs([" ".join(words), " ".join(words[:100])]) == set()


def test_pairs_are_near_from_an_exact_jaccard_of_eight_tenths():
    for words, expected in ((13, {(0, 1)}), (12, set())):  # 8 of 10 shingles are shared, 7 of 9
        text = [f"w{i}" for i in range(words)]
        assert pairs([" ".join(text), " ".join([*text[:-1], "changed"])]) == expected


def test_every_text_of_a_crowd_of_near_equals_has_a_pair():
    words = crowd(1, 150)[0]
    texts = [" ".join([*words, f"end{i}"]) for i in range(200)]
    found = pairs(texts)
    assert {index for pair in found for index in pair} == set(range(200))


def test_no_text_and_short_texts_give_no_pairs():
    for texts in ([], ["one"], ["a b", "a b c"], ["", ""]):
        assert pairs(texts) == set()


def test_pairs_are_the_same_however_many_samples_are_read_at_once(monkeypatch):
    texts = crowd(200, 40)
    near = [[*words[:-1], "changed"] for words in texts[:120]]
    joined = [" ".join(words) for words in [*texts, *near, *([*words, "more"] for words in texts[60:])]]
    at_once = find_near_pairs(joined)
    monkeypatch.setattr("tuneproof.data.duplicates._SAMPLES_AT_ONCE", 50)
    monkeypatch.setattr("tuneproof.data.duplicates._PAIRS_AT_ONCE", 7)
    in_pieces = find_near_pairs(joined)
    assert len(at_once.first_M) == 120 + 140 + 60  # 60 of the changed texts are also near the longer one
    for column in ("first_M", "second_M"):
        assert getattr(in_pieces, column).tolist() == getattr(at_once, column).tolist()
    assert (at_once.first_M < at_once.second_M).all()
    both = list(zip(at_once.first_M.tolist(), at_once.second_M.tolist(), strict=True))
    assert both == sorted(both)
