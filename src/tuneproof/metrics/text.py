"""BLEU, METEOR and ROUGE of answers, over all questions and over the answerable ones.

In: gold answers, predicted answers ("" is no answer). Out: per-item statistics and formulas.
Knows nothing of: models, files, intervals, thresholds.

Shapes: N items, K statistics. Where a question has no gold answer its reference is the empty text.
METEOR and ROUGE are means over items: no answer to such a question counts 1, any answer 0, and no
answer to an answerable one 0. BLEU is of the corpus: a rightly withheld answer adds nothing, an
answer that should have been withheld adds n-grams that match nothing; so BLEU over all questions
says little about abstaining, and BLEU of answers that are mostly shorter than four words is low.
With several golds METEOR and ROUGE take the best one; BLEU clips by all of them.

rouge-score drops every letter but a to z, so texts that are not ASCII have the words of `find_words`.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.metrics.matching import CACHED_PAIRS
from tuneproof.metrics.metric import AnswerItems, Metric, QuestionKind
from tuneproof.metrics.wordnet import HOW_TO_GET, read_wordnet, wordnet_folder
from tuneproof.metrics.words import OF_CHARACTERS, find_words, space_characters

Floats = NDArray[np.float64]
PerItem = Callable[[AnswerItems], Floats]

ORDERS = 4
LOG_OF_ZERO = -9999999999.0  # as in sacrebleu
ROUGES = ("rouge1", "rouge2", "rougeL")
BLEU_NOTE = (
    f"sacrebleu nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp|version:{version('sacrebleu')}; "
    + OF_CHARACTERS
)
ROUGE_NOTE = (
    f"rouge-score {version('rouge-score')}, F-measure, Porter stemmer; letters other than a to z, which "
    f"rouge-score drops, count, and {OF_CHARACTERS}"
)
METEOR_NOTE = (
    f"nltk {version('nltk')} (alpha 0.9, beta 3, gamma 0.5), Porter stemmer, WordNet 3.0, words "
    f"split by nltk's Treebank rules; {OF_CHARACTERS}"
)


@cache
def _bleu() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU()


class _RougeWords:
    """rouge-score's words of ASCII; of other texts also the letters that it drops."""

    def __init__(self) -> None:
        from rouge_score.tokenizers import DefaultTokenizer

        self.official = DefaultTokenizer(use_stemmer=True)

    def tokenize(self, text: str) -> list[str]:
        """Lower-cased words, those of ASCII stemmed; the signs of a text without words."""
        words = self.official.tokenize(text) if text.isascii() else []
        return words or [stem for word in find_words(text) for stem in self._stems(word)]

    def _stems(self, word: str) -> list[str]:
        return (word.isascii() and self.official.tokenize(word)) or [word]


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(ROUGES), tokenizer=_RougeWords())


@cache
def _words() -> Any:
    from nltk.tokenize.treebank import TreebankWordTokenizer

    return TreebankWordTokenizer()


@lru_cache(maxsize=CACHED_PAIRS)
def bleu_counts(golds: tuple[str, ...], predicted: str) -> tuple[float, ...]:
    """Matches of 1 to 4 grams, their totals, length of answer and of the nearest gold: 10 numbers."""
    spaced = [[space_characters(gold)] for gold in golds or ("",)]
    score = _bleu().corpus_score([space_characters(predicted)], spaced)
    return (*score.counts, *score.totals, score.sys_len, score.ref_len)


@lru_cache(maxsize=CACHED_PAIRS)
def rouge_values(golds: tuple[str, ...], predicted: str) -> tuple[float, ...]:
    """F-measures of ROUGE-1, ROUGE-2 and ROUGE-L, 0 to 1, each of the best gold."""
    if not golds or not predicted:
        return (float(not golds and not predicted),) * len(ROUGES)
    scores = _rouge().score_multi(list(dict.fromkeys(golds)), predicted)
    return tuple(float(scores[name].fmeasure) for name in ROUGES)


@lru_cache(maxsize=CACHED_PAIRS)
def meteor_value(golds: tuple[str, ...], predicted: str) -> float:
    """METEOR, 0 to below 1, of the best gold."""
    if not golds or not predicted:
        return float(not golds and not predicted)
    from nltk.translate.meteor_score import meteor_score

    folder = wordnet_folder()
    assert folder is not None, "call why_not_computable() first"
    split = _words().tokenize
    references = [split(space_characters(gold)) for gold in dict.fromkeys(golds)]
    answer = split(space_characters(predicted))
    return float(meteor_score(references, answer, wordnet=read_wordnet(folder)))


def _rows(items: AnswerItems, of: Callable[[tuple[str, ...], str], Any]) -> Floats:
    pairs = zip(items.golds, items.texts, strict=True)
    return np.array([of(golds, text) for golds, text in pairs], dtype=np.float64)


def _bleu_rows(items: AnswerItems) -> Floats:
    """[N, 10]: see `bleu_counts`."""
    return _rows(items, bleu_counts)


def _rouge_rows(column: int) -> PerItem:
    def per_item(items: AnswerItems) -> Floats:
        values_N = _rows(items, rouge_values)[:, column]
        return np.stack([values_N, np.ones_like(values_N)], axis=1)

    return per_item


def _meteor_rows(items: AnswerItems) -> Floats:
    values_N = _rows(items, meteor_value)
    return np.stack([values_N, np.ones_like(values_N)], axis=1)


def _answerable(per_item: PerItem) -> PerItem:
    """The statistics of answerable questions; those of the others are zero."""
    return lambda items: per_item(items) * items.answerable_N[:, None]


def _mean(totals_K: Floats, _classes: int) -> Floats:
    above, below = totals_K[..., 0], totals_K[..., 1]
    return np.divide(above, below, out=np.zeros_like(below), where=below > 0)


def corpus_bleu(totals_K: Floats, _classes: int = 0) -> Floats:
    """BLEU, 0 to 1, from summed counts [..., 10].

    Orders without a match count 1/2, 1/4, ... of a match (smooth:exp); without any match it is 0.
    """
    totals_K = np.asarray(totals_K, dtype=np.float64)
    right_O, all_O = totals_K[..., :ORDERS], totals_K[..., ORDERS : 2 * ORDERS]
    answer, gold = totals_K[..., -2], totals_K[..., -1]
    missed_O = (right_O == 0) & (all_O > 0)
    smoothed_O = np.where(missed_O, 0.5 ** missed_O.cumsum(axis=-1), right_O)
    defined_O = (all_O > 0) & (smoothed_O > 0)
    precision_O = np.divide(100 * smoothed_O, all_O, out=np.ones_like(all_O), where=defined_O)
    log_O = np.where(defined_O, np.log(precision_O), LOG_OF_ZERO)
    short = np.divide(gold, answer, out=np.ones_like(gold), where=answer > 0)
    brevity = np.where(answer >= gold, 1.0, np.exp(1 - short)) * (answer > 0)
    value = brevity * np.exp(log_O.mean(axis=-1)) / 100
    return np.where(right_O.any(axis=-1), np.minimum(value, 1.0), 0.0)


def _identical_rows(items: AnswerItems) -> Floats:
    """[N, 2]: whether the text is one of the golds, white space aside, and 1."""
    pairs = zip(items.golds, items.texts, strict=True)
    same = [
        " ".join(text.split()) in [" ".join(gold.split()) for gold in golds or ("",)] for golds, text in pairs
    ]
    return np.stack([np.array(same, dtype=np.float64), np.ones(len(same))], axis=1)


def _no_wordnet() -> str:
    if wordnet_folder() is not None:
        return ""
    return f"meteor is not computed: WordNet is not on this machine. To install it, {HOW_TO_GET}."


def _pair(
    name: str,
    title: str,
    per_item: PerItem,
    formula: Callable[[Floats, int], Floats],
    paper: str,
    note: str,
    missing_requirement: Callable[[], str] | None = None,
) -> list[Metric]:
    """The metric over all questions, and over the answerable ones."""
    pairs: tuple[tuple[str, str, PerItem, QuestionKind], ...] = (
        ("", "", per_item, ""),
        ("_has_answer", ", answerable", _answerable(per_item), "answer"),
    )
    return [
        Metric(
            name=name + suffix,
            title=title + ending,
            per_item=rows,
            from_totals=formula,
            paper=paper,
            note=note,
            kind="questions",
            required_questions="answer",
            counted_questions=counted_questions,
            name_in_sentence=f"{title} of answerable questions" if counted_questions else title,
            missing_requirement=missing_requirement,
        )
        for suffix, ending, rows, counted_questions in pairs
    ]


_BLEU_PAPER = "Papineni et al. 2002, aclanthology P02-1040; Post 2018, W18-6319"
_METEOR_PAPER = "Banerjee and Lavie 2005, aclanthology W05-0909"
_ROUGE_PAPER = "Lin 2004, aclanthology W04-1013"
IDENTICAL = Metric(
    name="identical",
    title="Identical text",
    per_item=_identical_rows,
    from_totals=_mean,
    paper="none: equality of texts",
    note="equal but for white space: case, punctuation and articles count, unlike in exact match",
    kind="questions",
    name_in_sentence="identical texts",
)
TEXT_METRICS = (
    IDENTICAL,
    *_pair("bleu", "BLEU", _bleu_rows, corpus_bleu, _BLEU_PAPER, BLEU_NOTE),
    *_pair("meteor", "METEOR", _meteor_rows, _mean, _METEOR_PAPER, METEOR_NOTE, _no_wordnet),
    *_pair("rouge1", "ROUGE-1", _rouge_rows(0), _mean, _ROUGE_PAPER, ROUGE_NOTE),
    *_pair("rouge2", "ROUGE-2", _rouge_rows(1), _mean, _ROUGE_PAPER, ROUGE_NOTE),
    *_pair("rougeL", "ROUGE-L", _rouge_rows(2), _mean, _ROUGE_PAPER, ROUGE_NOTE),
)
