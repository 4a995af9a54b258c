import numpy as np
import pytest

from tuneproof.data.lookalikes import cluster_lookalikes, comparable_words, find_lookalikes

BASE = "The invoice of March was paid twice, please send the money back"
DISGUISES = {
    "html": "<p>The invoice of <b>March</b> was paid twice,<br/>please send the money back</p>",
    "reply": "RE: The invoice of March was paid twice, please send the money back",
    "case and width": "ＴＨＥ INVOICE OF MARCH WAS PAID TWICE, PLEASE SEND THE MONEY BACK",
    "order": "Please send the money back, the invoice of March was paid twice",
    "typo": "The invioce of March was paid twice, please send the money back",
    "homoglyphs": "The invоiсe оf Mаrch wаs pаid twiсe, plеase sеnd the mоney bаck",
    "hidden characters": "The in\u200bvoice of Ma\u00adrch was pa\u200bid twice, please send the money back",
    "entities": "The&nbsp;invoice&nbsp;of March was paid twice, please send the money back",
    "cut": "The invoice of March was paid twice",
}


@pytest.mark.parametrize("twin", DISGUISES.values(), ids=DISGUISES)
def test_a_disguised_twin_is_found(twin):
    found = find_lookalikes(["something else", BASE], [twin, "an unrelated text of several words"])
    assert found.is_alike_H.tolist() == [True, False]
    assert found.index_H[0] == 1


def _by_hand(earlier, test):
    jaccard, containment = [], []
    sets = [[set(comparable_words(text)) for text in texts] for texts in (earlier, test)]
    for a in sets[1]:
        pairs = [(len(a & b), len(a | b), min(len(a), len(b))) for b in sets[0]]
        jaccard.append(any(5 * shared >= 3 * union > 0 for shared, union, _ in pairs))
        containment.append(any(10 * shared >= 9 * small and small >= 4 for shared, _, small in pairs))
    return jaccard, containment


@pytest.mark.parametrize("words", [12, 40, 300])
def test_both_measures_agree_with_every_pair_compared(words):
    random = np.random.default_rng(words)

    def texts(number):
        weights = 1 / np.arange(1, words + 1)
        sizes = random.integers(0, 14, number)
        drawn = [random.choice(words, size, p=weights / weights.sum()) for size in sizes]
        return [" ".join(f"w{word}" for word in text) for text in drawn]

    earlier, test = texts(150), texts(100)
    found = find_lookalikes(earlier, test)
    jaccard, containment = _by_hand(earlier, test)
    assert (found.jaccard_index_H >= 0).tolist() == jaccard
    assert (found.containment_index_H >= 0).tolist() == containment


def test_the_most_similar_text_is_named_with_its_similarity():
    found = find_lookalikes(["a b c d e f", "a b c d e", "x y"], ["a b c d e", "a b c d q"])
    assert found.jaccard_index_H.tolist() == [1, 1]
    assert found.jaccard_H.tolist() == [1.0, pytest.approx(4 / 6)]
    assert found.containment_index_H.tolist() == [0, -1]


@pytest.mark.parametrize(("earlier", "test"), [([], ["a b"]), (["a b"], []), ([""], ["", ":)"])])
def test_nothing_looks_like_an_empty_text(earlier, test):
    assert not find_lookalikes(earlier, test).is_alike_H.any()


def test_many_texts_of_one_template_are_each_found():
    texts = [f"your order number {i} was sent on day {i % 30}" for i in range(4000)]
    assert find_lookalikes(texts[:3000], texts[3000:]).is_alike_H.all()


def test_clusters_hold_what_looks_alike_also_by_way_of_others():
    words = [f"w{i}" for i in range(30)]
    chain = [" ".join(words[start : start + 12]) for start in range(0, 9, 3)]  # neighbours share 9 of 15
    other = "something else that nobody wrote in any of these texts before"
    clusters = cluster_lookalikes([chain[0], other, chain[1], other.upper() + "!", chain[2], "short"])
    assert clusters[0] == clusters[2] == clusters[4]
    assert clusters[1] == clusters[3]
    assert len(set(clusters.tolist())) == 3


def test_clusters_agree_with_all_pairs():
    rng = np.random.default_rng(3)
    bases = [[f"b{base}w{i}" for i in range(10)] for base in range(12)]
    texts = [" ".join(rng.permutation(bases[rng.integers(12)])[: rng.integers(4, 11)]) for _ in range(150)]
    sets = [set(text.split()) for text in texts]
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, a in enumerate(sets):
        for j, b in enumerate(sets[:i]):
            shared = len(a & b)
            smaller = min(len(a), len(b))
            if 5 * shared >= 3 * len(a | b) or (smaller >= 4 and 10 * shared >= 9 * smaller):
                parent[root(i)] = root(j)
    expected = [root(i) for i in range(len(texts))]
    clusters = cluster_lookalikes(texts).tolist()
    assert len(set(clusters)) == len(set(expected)) == len(set(zip(clusters, expected, strict=True)))
