"""BLEU, METEOR and ROUGE: what their libraries say when called directly, and empty references."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneproof.metrics import METRICS, AnswerItems, evaluate, why_not_computable
from tuneproof.metrics.text import BLEU_NOTE, bleu_counts, corpus_bleu
from tuneproof.metrics.wordnet import read_wordnet, wordnet_folder

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "squad_v2"
WORDNET = pytest.mark.skipif(wordnet_folder() is None, reason="WordNet is not on this machine")


@pytest.fixture(scope="module")
def pairs() -> AnswerItems:
    """200 real answers to answerable questions, with their golds."""
    if not DATA.is_dir():
        pytest.skip("../shared/data/squad_v2 is not there")
    data = json.loads(gzip.decompress((DATA / "dev-v2.0.json.gz").read_bytes()))["data"]
    said = json.loads(gzip.decompress((DATA / "predictions_bert_single.json.gz").read_bytes()))
    found = [
        (tuple(a["text"] for a in q["answers"]), said[q["id"]])
        for article in data
        for paragraph in article["paragraphs"]
        for q in paragraph["qas"]
        if q["answers"] and said[q["id"]]
    ]
    chosen = [found[i] for i in np.random.default_rng(0).permutation(len(found))[:200]]
    return AnswerItems([golds for golds, _ in chosen], [text for _, text in chosen])


def test_bleu_is_sacrebleus(pairs):
    import sacrebleu

    most = max(map(len, pairs.golds))
    columns = [[g[k] if k < len(g) else None for g in pairs.golds] for k in range(most)]
    theirs = sacrebleu.BLEU()
    score = theirs.corpus_score(list(pairs.texts), columns).score / 100
    assert evaluate(METRICS["bleu"], pairs) == pytest.approx(score, abs=1e-12)
    assert 0 < score < 1
    wanted = str(theirs.get_signature()).replace(f"nrefs:{most}", "nrefs:var")
    assert BLEU_NOTE.startswith(f"sacrebleu {wanted};")


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(["a", "b", "c d e", "f g h i", ""]), min_size=1, max_size=2),
            st.sampled_from(["", "a", "b c d e f", "f g h i", "c d e a b"]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_bleu_from_summed_counts_is_sacrebleus_on_every_small_corpus(rows):
    import sacrebleu

    golds, said = [tuple(gold) for gold, _ in rows], [text for _, text in rows]
    columns = [[g[k] if k < len(g) else None for g in golds] for k in range(2)]
    theirs = sacrebleu.BLEU().corpus_score(said, columns).score / 100
    counts = np.array([bleu_counts(g, t) for g, t in zip(golds, said, strict=True)])
    assert corpus_bleu(counts.sum(axis=0)) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rougeL"])
def test_rouge_is_rouge_scores(pairs, name):
    from rouge_score.rouge_scorer import RougeScorer

    theirs = RougeScorer([name], use_stemmer=True)
    rows = [row for row in zip(pairs.golds, pairs.texts, strict=True) if "".join([*row[0], row[1]]).isascii()]
    values = [max(theirs.score(gold, text)[name].fmeasure for gold in golds) for golds, text in rows]
    assert len(rows) > 190
    items = AnswerItems([golds for golds, _ in rows], [text for _, text in rows])
    assert evaluate(METRICS[name], items) == pytest.approx(np.mean(values), abs=1e-12)


@WORDNET
def test_meteor_is_nltks(pairs):
    from nltk.tokenize.treebank import TreebankWordTokenizer
    from nltk.translate.meteor_score import meteor_score

    split = TreebankWordTokenizer().tokenize
    values = [
        meteor_score([split(gold) for gold in golds], split(text), wordnet=read_wordnet(wordnet_folder()))
        for golds, text in zip(pairs.golds, pairs.texts, strict=True)
    ]
    assert evaluate(METRICS["meteor"], pairs) == pytest.approx(np.mean(values), abs=1e-12)


@WORDNET
def test_wordnet_finds_base_forms_and_words_of_the_same_meaning():
    net = read_wordnet(wordnet_folder())

    def synonyms(word: str) -> set[str]:
        return {lemma.name() for synset in net.synsets(word) for lemma in synset.lemmas()}

    assert {"car", "auto", "automobile"} <= synonyms("cars")
    assert "mouse" in synonyms("mice")  # noun.exc
    assert {"run", "operate"} <= synonyms("running")
    assert "big" in synonyms("large")
    assert synonyms("zzyzx") == set()
    assert len(net.synsets("dog")) == 8  # seven nouns and a verb in WordNet 3.0


def test_without_wordnet_meteor_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("WORDNET", "/nowhere")
    said = why_not_computable(METRICS["meteor"], AnswerItems([("a",)], ["a"]))
    assert "meteor is not computed" in said
    assert "wordnet-base" in said
    assert why_not_computable(METRICS["rouge1"], AnswerItems([("a",)], ["a"])) == ""


def test_a_question_without_an_answer_counts_as_right_only_where_nothing_is_said():
    withheld = AnswerItems([("two words",), ()], ["two words", ""])
    said = AnswerItems([("two words",), ()], ["two words", "x"])
    silent = AnswerItems([("two words",), ()], ["", ""])
    assert evaluate(METRICS["rouge1"], withheld) == 1
    assert evaluate(METRICS["rouge1"], said) == 0.5
    assert evaluate(METRICS["rouge1"], silent) == 0.5
    assert evaluate(METRICS["rouge1_has_answer"], silent) == 0
    assert evaluate(METRICS["bleu"], withheld) >= evaluate(METRICS["bleu"], said)
    assert evaluate(METRICS["bleu_has_answer"], said) == evaluate(METRICS["bleu"], withheld)


def test_identical_texts_keep_case_and_punctuation_but_not_white_space():
    metric = METRICS["identical"]
    pairs = (
        ("a  b", "a\nb", 1),
        ('{"x": -1}', '{"x": 1}', 0),
        ("a - b", "a + b", 0),
        ("The cat", "the cat", 0),
    )
    for gold, text, value in pairs:
        assert evaluate(metric, AnswerItems([(gold,)], [text])) == value
    assert evaluate(metric, AnswerItems([("x", "y"), ()], ["y", ""])) == 1
    assert evaluate(metric, AnswerItems([("x",), ("y",)], ["x", ""])) == 0.5
