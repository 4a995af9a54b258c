"""Words of any script, and what the metrics of answers make of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneproof.metrics import METRICS, AnswerItems, evaluate, why_not_computable
from tuneproof.metrics.matching import best_of
from tuneproof.metrics.text import bleu_counts, corpus_bleu, rouge_values
from tuneproof.metrics.words import find_words, is_unspaced, space_characters

SENTENCES = {
    "Arabic": "القطة تنام على الموقد القديم",
    "Bengali": "বিড়াল পুরানো চুলার উপর ঘুমায়",
    "Burmese": "ကြောင်သည်မီးဖိုပေါ်တွင်အိပ်သည်",
    "Chinese": "猫睡在炉子上",
    "Chinese beyond the first plane": "𠮷野家𠀋𠁆",
    "English": "the cat sleeps on the stove",
    "German": "Die Kätzchen schläft gemütlich überm Öfchen",
    "Greek": "η γάτα κοιμάται στη σόμπα",
    "Hebrew": "החתול ישן על התנור הישן",
    "Hindi": "बिल्ली पुराने चूल्हे पर सोती है",
    "Japanese": "猫はストーブの上で寝ている",
    "Khmer": "ឆ្មាដេកលើចង្ក្រាន",
    "Korean": "고양이가 난로 위에서 잔다",
    "Persian": "گربه روی اجاق می‌خوابد همیشه",
    "Russian": "Кошка спит на печи",
    "Tamil": "பூனை பழைய அடுப்பில் தூங்குகிறது",
    "Thai": "แมวนอนบนเตาเก่า",
    "Tibetan": "བྱི་ལ་ཐབ་སྟེང་ལ་ཉལ་",
    "emoji": "👍 🎉 ❤️ 👩‍👩‍👧 🇩🇪",
}
COMPUTED = [
    metric
    for metric in METRICS.values()
    if metric.kind == "questions"
    and metric.counted_questions != "no answer"
    and not why_not_computable(metric, AnswerItems([("a",)], ["a"]))
]


@pytest.mark.parametrize("metric", COMPUTED, ids=[metric.name for metric in COMPUTED])
@pytest.mark.parametrize("text", SENTENCES.values(), ids=SENTENCES)
def test_the_same_text_twice_has_the_best_score_in_any_script(metric, text):
    near = 0.01 if metric.name.startswith("meteor") else 1e-12  # one chunk costs half / words³
    assert evaluate(metric, AnswerItems([(text,)], [text])) == pytest.approx(metric.best, abs=near)


@pytest.mark.parametrize("metric", COMPUTED, ids=[metric.name for metric in COMPUTED])
@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("Müller", "Möller"),
        ("в 1987 году", "до 1987 лет"),
        ("猫睡在炉子上", "狗睡在炉子上"),
        ("แมวนอนบนเตา", "หมานอนบนเตา"),
        ("की", "का"),
        ("резюме", "резюмé"),
        ("naïve", "naive"),
        ("Ærø", "Rø"),
        ("👍", "👎"),
        ("東京", "京都"),
    ],
)
def test_different_words_never_have_the_best_score(metric, gold, answer):
    assert evaluate(metric, AnswerItems([(gold,)], [answer])) < metric.best


@given(st.sampled_from(list(SENTENCES.values())), st.sampled_from(list(SENTENCES.values())))
def test_sentences_of_two_languages_share_less_than_all(gold, answer):
    if gold != answer:
        assert max(rouge_values((gold,), answer)) < 1
        assert best_of((gold,), answer) < (1, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Das Café von Müller", ["das", "café", "von", "müller"]),
        ("cafe\u0301", ["café"]),
        ("猫が cat 2 匹", ["猫", "が", "cat", "2", "匹"]),
        ("กำลังดี", ["ก", "ำ", "ลั", "ง", "ดี"]),
        ("बिल्ली", ["बिल्ली"]),
        ("می‌خوابد", ["می‌خوابد"]),
        ("snake_case don’t", ["snake", "case", "don", "t"]),
        ("fine 👍", ["fine"]),
        (":)", [":", ")"]),
        ("  ", []),
    ],
)
def test_a_word_is_a_run_of_letters_or_a_character_with_its_marks(text, words):
    assert find_words(text) == words


def test_a_script_with_spaces_is_left_as_it_is():
    for text in ("the cat", "Кошка спит", "고양이가 잔다", "बिल्ली"):
        assert space_characters(text) == text
        assert not is_unspaced(text)
    assert space_characters("in 東京 1964").split() == ["in", "東", "京", "1964"]


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=60), st.text(st.characters(codec="ascii")))
def test_texts_of_ascii_have_the_official_values(gold, answer):
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    golds, answer = (f"some {gold}",), f"word {answer}"
    official = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True).score(golds[0], answer)
    assert rouge_values(golds, answer) == tuple(official[name].fmeasure for name in official)
    theirs = BLEU().corpus_score([answer], [list(golds)]).score / 100
    assert corpus_bleu(np.array(bleu_counts(golds, answer))) == pytest.approx(theirs, abs=1e-9)


def test_bleu_of_chinese_is_sacrebleus_for_chinese():
    from sacrebleu.metrics import BLEU

    gold, answer = "猫睡在旧炉子上，狗不在", "猫昨天睡在炉子上，狗在"
    theirs = BLEU(tokenize="zh").corpus_score([answer], [[gold]]).score / 100
    assert corpus_bleu(np.array(bleu_counts((gold,), answer))) == pytest.approx(theirs, abs=1e-9)
