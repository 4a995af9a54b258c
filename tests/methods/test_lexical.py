"""The lexical baseline of labels: it reads any script and any sign, dev chooses, and it never dies."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneproof.methods.lexical import NOTHING_TO_READ, LexicalOptions, fit_lexical
from tuneproof.methods.lexical_features import find_tokens, fold_text
from tuneproof.methods.method import BaselineFit, LabelledTexts

GOOD_AND_BAD = {
    "Arabic": ("رائع", "سيئ", ["الطعام", "الفندق", "الفيلم"], "{} كان {}"),
    "Chinese": ("好吃", "难吃", ["面条", "包子", "米饭"], "这家的{}真的很{}下次再说"),
    "Hindi": ("अच्छा", "बुरा", ["खाना", "होटल", "सिनेमा"], "{} बहुत {} था"),
    "Japanese": ("美味しい", "不味い", ["うどん", "寿司", "蕎麦"], "ここの{}はとても{}です"),
    "Khmer": ("ល្អ", "អាក្រក់", ["បាយ", "ត្រី", "សាច់"], "{}នេះពិតជា{}ណាស់"),
    "Korean": ("맛있", "맛없", ["국수", "만두", "밥"], "이 집 {}는 정말 {}었습니다"),
    "Russian": ("хорош", "плох", ["суп", "отель", "фильм"], "{} был очень {}"),
    "Thai": ("อร่อย", "แย่", ["ข้าว", "ปลา", "ซุป"], "{}ร้านนี้{}มากจริงๆ"),
    "emoji": ("👍", "👎", ["🍜", "🍕", "🍣"], "{}{}"),
    "emoticons": (":)", ":(", ["well", "so", "today"], "{} {}"),
    "kaomoji": ("(^_^)", "(T_T)", ["...", "--", "~~"], "{} {}"),
    "languages": ("C++", "C", ["parser", "loop", "test"], "a {} in {}"),
    "lower case": ("c#", "c", ["parser", "loop", "test"], "a {} in {}"),
    "punctuation alone": ("--", "...", ["'", ";", ","], "{} {}"),
}


def fit_on(train, dev, test, labels=2, **options) -> BaselineFit:
    texts, names = zip(*train, strict=True)
    dev_texts, dev_names = zip(*dev, strict=True)
    return fit_lexical(
        LexicalOptions(**options),
        LabelledTexts(texts, np.array(names)),
        LabelledTexts(dev_texts, np.array(dev_names)),
        [text for text, _ in test],
        labels,
    )


def reviews(kind: str, size: int) -> list[tuple[str, int]]:
    *words, fillers, template = GOOD_AND_BAD[kind]
    return [
        (template.format(fillers[i % len(fillers)], words[1 - i % 2]) + fillers[i % 3], i % 2)
        for i in range(size)
    ]


@pytest.mark.parametrize("kind", GOOD_AND_BAD)
def test_a_label_that_any_word_or_sign_tells_is_learnt(kind):
    test = reviews(kind, 12)
    fitted = fit_on(reviews(kind, 30), reviews(kind, 10), test)
    assert (fitted.test_NC.argmax(axis=1) == [label for _, label in test]).all()
    assert fitted.notes == ()


@pytest.mark.parametrize("texts", [(" ", "\n\t"), ("\u200b", "")])
def test_texts_without_anything_to_read_get_the_shares_of_train_and_a_note(texts):
    train = [(texts[0], 0), (texts[1], 1), (texts[0], 1)]
    fitted = fit_on(train, train, [("word", 0)], characters=0)
    assert fitted.notes == (NOTHING_TO_READ,)
    assert fitted.test_NC.tolist() == [pytest.approx([1 / 3, 2 / 3])]
    assert fitted.parameters == 0


def test_endings_of_words_are_seen_where_no_word_repeats():
    rng = np.random.default_rng(0)

    def rows(size: int) -> list[tuple[str, int]]:
        stems = ["".join(rng.choice(list("bcdfglmnprst"), 5)) for _ in range(size)]
        return [(f"{stem}{('issa', 'ttaen')[i % 2]}", i % 2) for i, stem in enumerate(stems)]

    train, dev, test = rows(120), rows(60), rows(60)
    gold = [label for _, label in test]
    words = fit_on(train, dev, test, characters=0)
    both = fit_on(train, dev, test)
    assert (words.test_NC.argmax(axis=1) == gold).mean() < 0.7
    assert (both.test_NC.argmax(axis=1) == gold).mean() > 0.95
    assert both.chosen["features"] == "words and characters"


def test_dev_alone_chooses_and_the_parameters_are_those_of_the_choice():
    rows = reviews("Russian", 40)
    one, other = fit_on(rows, rows, [("хорош", 0)]), fit_on(rows, rows, [("плох", 1)] * 9)
    assert one.chosen == other.chosen
    assert (one.dev_NC == other.dev_NC).all()
    alone = fit_on(rows, rows, rows, characters=0)
    assert alone.chosen["features"] == "words"
    vocabulary = {word for text, _ in rows for word in find_tokens(fold_text(text))}
    pairs = {p for text, _ in rows for w in [find_tokens(fold_text(text))] for p in pairwise(w)}
    assert alone.parameters == len(vocabulary) + len(pairs) + 1


def test_a_label_that_train_does_not_hold_has_no_probability():
    rows = reviews("Russian", 20)
    fitted = fit_on(rows, [*rows, ("суп", 2)], rows, labels=3)
    assert (fitted.test_NC[:, 2] == 0).all()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It's a well-made film!", ["it", "s", "a", "well", "made", "film", "!"]),
        ("so so ;-) :(", ["so", "so", ";-)", ":("]),
        ("C++ and C#", ["c", "+", "+", "and", "c", "#"]),
        ("今日は good 👍🏽", ["今", "日", "は", "good", "👍", "🏽"]),
        ("ＡＢＣ ﬁne", ["abc", "fine"]),
        ("कैसा है।", ["कैसा", "है"]),
        ("“Quoted” – text… «a»", ["quoted", "text", "a"]),
        ("5 € ❤️", ["5", "€", "❤"]),
    ],
)
def test_words_and_signs_are_tokens_and_the_punctuation_of_prose_is_none(text, tokens):
    assert find_tokens(fold_text(text)) == tokens


@given(
    st.lists(st.tuples(st.text(max_size=8), st.integers(0, 1)), min_size=1, max_size=6),
    st.lists(st.text(max_size=8), min_size=1, max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_any_texts_give_probabilities_that_sum_to_one(rows, texts):
    train = [*rows, ("", 0), ("", 1)]
    fitted = fit_on(train, train, [(text, 0) for text in texts])
    assert fitted.test_NC.sum(axis=1) == pytest.approx(1)
    assert np.isfinite(fitted.dev_NC).all()
