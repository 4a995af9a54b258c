"""A tokenizer that is read encodes texts as its own tokenizer.json does, whatever its class makes of it.

In: tokenizers trained here, written with the class names of real models. Out: nothing.
Knows nothing of: weights, the pipeline.
"""

import json
import random
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from tests.tiny_models import CORPUS, TYPES, tiny_tokenizer
from tuneproof.data.tokens import encode_plain
from tuneproof.models.own_tokenizer import as_own_file

TEXTS = [
    *CORPUS[:20],
    *(text.upper() for text in CORPUS[:20]),
    "ÉTÉ café 2024 12345",
    " leading",
    "two  spaces",
]
BERT = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
BERT |= {"mask_token": "[MASK]"}
END = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
LLAMA = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def wordpiece(**rules: object) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**rules)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=600, special_tokens=[*dict.fromkeys(BERT.values())], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    marks = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    return tokenizer


def byte_level(normalizer: object = None, pre_tokenizer: object = None, specials: object = END) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=[*dict.fromkeys(specials.values())],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS + [" 2024 12345"] * 50, trainer)
    return tokenizer


def grouped_digits() -> object:
    split = pre_tokenizers.Split(Regex(r"\d{1,3}|\D+"), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


# what a folder holds, and the class that its tokenizer_config.json names
FOLDERS = {
    "cased BERT without do_lower_case": (lambda: wordpiece(lowercase=False), "BertTokenizer", BERT),
    "cased DistilBERT": (lambda: wordpiece(lowercase=False), "DistilBertTokenizer", BERT),
    "lower-cased BERT that keeps accents": (
        lambda: wordpiece(lowercase=True, strip_accents=False),
        "BertTokenizer",
        BERT,
    ),
    "lower-cased RoBERTa": (
        lambda: byte_level(normalizers.Lowercase(), specials=LLAMA | {"mask_token": "<mask>"}),
        "RobertaTokenizer",
        LLAMA | {"mask_token": "<mask>"},
    ),
    "Qwen2 with grouped digits": (lambda: byte_level(None, grouped_digits()), "Qwen2Tokenizer", END),
    "GPT-2 in lower case": (lambda: byte_level(normalizers.Lowercase()), "GPT2Tokenizer", END),
    "Llama with grouped digits": (lambda: byte_level(None, grouped_digits(), LLAMA), "LlamaTokenizer", LLAMA),
}


def write(folder: Path, tokenizer: Tokenizer, name: str, **values: object) -> Path:
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, **values}))
    return folder


@pytest.mark.parametrize("case", FOLDERS)
def test_a_tokenizer_reads_texts_as_its_own_file_does(case, tmp_path) -> None:
    make, name, specials = FOLDERS[case]
    folder = write(tmp_path / "model", make(), name, **specials)
    made = AutoTokenizer.from_pretrained(folder)
    tokenizer, notes = as_own_file(made, folder)
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    wanted = [own.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert encode_plain(tokenizer, TEXTS) == wanted
    assert tokenizer.special_tokens_map == made.special_tokens_map
    if encode_plain(made, TEXTS) != wanted:
        assert "tokenizer.json" in notes[0]
        assert name in notes[0] or type(made).__name__ in notes[0]
    tokenizer.save_pretrained(tmp_path / "saved")
    assert encode_plain(AutoTokenizer.from_pretrained(tmp_path / "saved"), TEXTS) == wanted


def test_a_cased_bert_is_read_with_its_capitals_and_the_note_shows_both(tmp_path) -> None:
    folder = write(tmp_path / "model", wordpiece(lowercase=False), "BertTokenizer", **BERT)
    made = AutoTokenizer.from_pretrained(folder)
    tokenizer, notes = as_own_file(made, folder)
    assert made.tokenize("THE FILM") == made.tokenize("the film")
    assert tokenizer.tokenize("THE FILM") != tokenizer.tokenize("the film")
    assert tokenizer.model_input_names == made.model_input_names
    assert notes[0].startswith("its tokenizer.json reads 'Good Movie' as ")
    assert "transformers' BertTokenizer would read g" in notes[0]
    ids = tokenizer("the film")["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)


def test_a_setting_of_the_configuration_does_not_change_the_files_rules(tmp_path) -> None:
    values = BERT | {"do_lower_case": True}
    folder = write(tmp_path / "model", wordpiece(lowercase=False), "BertTokenizer", **values)
    tokenizer, notes = as_own_file(AutoTokenizer.from_pretrained(folder), folder)
    assert tokenizer.tokenize("THE FILM") != tokenizer.tokenize("the film")
    assert notes


@pytest.mark.parametrize("kind", TYPES)
def test_a_tokenizer_that_is_read_as_its_file_has_no_note(kind, tmp_path) -> None:
    tiny_tokenizer(kind).save_pretrained(tmp_path)
    made = AutoTokenizer.from_pretrained(tmp_path)
    assert as_own_file(made, tmp_path) == (made, [])


def test_capitals_that_a_vocabulary_alone_can_never_give_are_counted(tmp_path) -> None:
    vocabulary = wordpiece(lowercase=False).get_vocab()
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)))
    values = {"tokenizer_class": "BertTokenizer", **BERT}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(values))
    _, notes = as_own_file(AutoTokenizer.from_pretrained(tmp_path), tmp_path)
    count = sum(
        token.upper() == token != token.lower() and token not in BERT.values() for token in vocabulary
    )
    assert "tokens with capitals" in notes[0]
    assert int(notes[0].split()[3]) >= count > 10
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(values | {"do_lower_case": False}))
    assert as_own_file(AutoTokenizer.from_pretrained(tmp_path), tmp_path)[1] == []


def test_an_uncased_vocabulary_holds_no_lost_capitals(tmp_path) -> None:
    folder = write(tmp_path / "model", wordpiece(lowercase=True), "BertTokenizer", **BERT)
    assert as_own_file(AutoTokenizer.from_pretrained(folder), folder)[1] == []


def test_a_tokenizer_that_merges_at_random_reads_a_text_the_same_way_each_time(tmp_path) -> None:
    random_merges = byte_level()
    random_merges.model.dropout = 0.5
    folder = write(tmp_path / "model", random_merges, "PreTrainedTokenizerFast", **END)
    tokenizer, notes = as_own_file(AutoTokenizer.from_pretrained(folder), folder)
    text = random.Random(0).choice(CORPUS)
    assert len({tuple(ids) for ids in encode_plain(tokenizer, [text] * 50)}) == 1
    assert any("dropout 0.5" in note for note in notes)
