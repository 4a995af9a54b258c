"""Texts that give a model no token, or only unknown ones, are counted and named.

In: counts; tokenizers of one script, trained here. Out: nothing. Knows nothing of: weights.
"""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.tiny_models import tiny_tokenizer
from tuneproof.data.audit_unreadable import audit_unreadable
from tuneproof.data.encode import encode_texts
from tuneproof.data.tokens import tokens_around, unknown_id
from tuneproof.families import FAMILIES
from tuneproof.tasks.task import Example

ENGLISH, AMHARIC = "the film was good", "ፊልሙ በጣም ጥሩ ነበር"


def one_script(letters: str, framed: bool = False) -> PreTrainedTokenizerFast:
    """A BPE of these letters alone, without an unknown token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    specials = ["<pad>", "<cls>", "<eos>"]
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator([letters * 5, letters[::-1] * 5], trainer)
    if framed:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<cls> $A <eos>", special_tokens=[("<cls>", 1), ("<eos>", 2)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def encode(tokenizer, texts):
    examples = [Example(str(i), text, 0, str(i)) for i, text in enumerate(texts)]
    return encode_texts(tokenizer, FAMILIES["bert"], examples, 32, "end")


@pytest.mark.parametrize("letters", ["ACGT", "ጥሩነው", "#()=123", "ΩΨΣ"])
def test_a_tokenizer_without_the_letter_a_reads_its_own_script(letters) -> None:
    framed = one_script(letters, framed=True)
    assert tokens_around(framed) == ([1], [2])
    encoded = encode(framed, [letters, "zzz"])
    assert (encoded.ids[0][0], encoded.ids[0][-1]) == (1, 2)
    assert encoded.text_tokens_N[0] > 0 == encoded.text_tokens_N[1]
    assert tokens_around(one_script(letters)) == ([], [])


def test_a_text_of_no_token_at_all_is_one_pad_token_whatever_stands_beside_it() -> None:
    encoded = encode(one_script("ACGT"), ["nnnn", "ACGT"])
    assert list(encoded.ids[0]) == [0]
    assert encoded.text_tokens_N[0] == 0


def test_texts_of_no_token_are_an_error_that_names_them() -> None:
    (finding,) = audit_unreadable([0, 5, 0], [0, 0, 0], ["a", "b", "c"], [False, False, True])
    assert (finding.name, finding.level, finding.count) == ("no_tokens", "error", 1)
    assert "1 text gives no token (a)" in finding.message
    assert finding.allowed_by == "audit.allow: [no_tokens]"


def test_unknown_tokens_of_a_real_vocabulary_are_counted() -> None:
    tokenizer = tiny_tokenizer("bert")
    encoded = encode(tokenizer, [ENGLISH, AMHARIC])
    assert encoded.unknown_N[0] == 0
    assert encoded.unknown_N[1] == encoded.text_tokens_N[1] == 4


@pytest.mark.parametrize(
    ("unreadable", "level"),
    [(0, None), (1, "note"), (10, "warning"), (89, "warning"), (90, "error"), (100, "error")],
)
def test_the_share_of_unreadable_texts_decides_what_is_said(unreadable, level) -> None:
    ids = [str(i) for i in range(100)]
    unknown = [5] * unreadable + [0] * (100 - unreadable)
    findings = audit_unreadable([5] * 100, unknown, ids, [False] * 100)
    assert [finding.level for finding in findings] == ([level] if level else [])
    if findings:
        assert f"{unreadable}.0% of the texts' tokens are unknown" in findings[0].message
        assert f"{unreadable} of 100 texts" in findings[0].message


def test_known_full_stops_do_not_make_unknown_texts_readable() -> None:
    ids = [str(i) for i in range(10)]
    (finding,) = audit_unreadable([6] * 10, [5] * 10, ids, [False] * 10)
    assert finding.level == "error"


def test_a_few_unknown_tokens_are_a_note_and_fewer_are_nothing() -> None:
    ids, blank = ["a", "b"], [False, False]
    (finding,) = audit_unreadable([50, 50], [2, 0], ids, blank)
    assert (finding.level, finding.message) == ("note", "2.0% of the texts' tokens are unknown to the model.")
    assert audit_unreadable([500, 500], [2, 0], ids, blank) == []


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_byte_level_models_read_every_script(kind) -> None:
    encoded = encode(tiny_tokenizer(kind), [AMHARIC, "🙂"])
    assert not encoded.unknown_N.any()
    assert unknown_id(one_script("ACGT")) == -1
