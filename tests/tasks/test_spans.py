import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tuneproof.tasks.spans import find_parents, find_span_overlap

PHRASES = st.lists(st.lists(st.sampled_from("abc"), max_size=7).map(" ".join), min_size=1, max_size=14)


def stands_in(piece: str, whole: str) -> bool:
    p, w = piece.split(), whole.split()
    return bool(p) and any(w[i : i + len(p)] == p for i in range(len(w) - len(p) + 1))


def test_a_phrase_belongs_to_the_sentence_around_it():
    texts = ["a good film", "good film", "film", "a bad film", "good films"]
    assert find_parents(texts).tolist() == [0, 0, 0, 3, 4]


def test_a_phrase_of_several_sentences_goes_to_the_first():
    assert find_parents(["the end", "not the end", "the end of it"]).tolist() == [1, 1, 2]


@given(PHRASES)
def test_parents_agree_with_looking_at_every_pair(texts):
    found = find_parents(texts)
    for index, text in enumerate(texts):
        longer = [i for i, other in enumerate(texts) if stands_in(text, other) and len(other) > len(text)]
        parent = int(found[index])
        assert found[parent] == parent  # a parent is its own
        if longer:
            assert stands_in(text, texts[parent])
            assert len(texts[parent]) > len(text)
        else:
            assert parent == next(i for i, other in enumerate(texts) if other.split() == text.split())


@given(PHRASES, PHRASES)
def test_overlap_agrees_with_looking_at_every_pair(train, held):
    found = find_span_overlap(train, held, min_tokens=3)

    def gives(one: str, other: str) -> bool:
        return stands_in(other, one) or (len(one.split()) >= 3 and stands_in(one, other))

    assert found.leaks_T.tolist() == [any(gives(t, h) for h in held) for t in train]
    assert (found.leaked_by_H >= 0).tolist() == [any(gives(t, h) for t in train) for h in held]
    assert found.contained_H.tolist() == [any(stands_in(h, t) for t in train) for h in held]
    for index in np.flatnonzero(found.leaked_by_H >= 0):
        assert gives(train[found.leaked_by_H[index]], held[index])
