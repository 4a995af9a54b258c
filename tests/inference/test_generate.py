"""Generated answers, and the labels that they name.

In: tiny models and the small real decoder. Out: nothing. Knows nothing of: studies.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.inference.test_label_likelihood import EXAMPLES, PROMPT, count_distinct, count_tokens_read
from tests.open_model import SHARED, open_model
from tests.tiny_models import DECODERS, tiny_model
from tuneproof.data.encode import encode_prompts
from tuneproof.inference import generate
from tuneproof.inference.generate import generate_answers, max_answer_tokens
from tuneproof.inference.parse import parse_answer, parse_question_answer
from tuneproof.metrics.metric import UNPARSED
from tuneproof.models import prefix_cache
from tuneproof.models.oom import AdaptiveBatchSize

LATE_TEXT = replace(PROMPT, template="Sentiment of: {text}")  # the prompts end differently
WORDS = ("negative", "positive", "very positive")


@pytest.fixture(scope="module", params=[*DECODERS, "stories260k"])
def opened(request, tmp_path_factory):
    kind = request.param
    if kind == "stories260k":
        folder = SHARED / "models" / kind
        if not folder.is_dir():
            pytest.skip("no ../shared/models/stories260k")
        return open_model(folder, "words")
    return open_model(tiny_model(tmp_path_factory.mktemp("m") / kind, kind), "words")


@pytest.fixture
def prompts(opened):
    return encode_prompts(opened.tokenizer, opened.family, LATE_TEXT, EXAMPLES, [], 200, "end")


def answers(opened, prompts, batch_size, tokens=8):
    pad_id, size = opened.tokenizer.pad_token_id, AdaptiveBatchSize(batch_size)
    return generate_answers(opened.model, opened.tokenizer, prompts, pad_id, size, tokens)


@torch.inference_mode()
def plain_greedy(opened, ids, tokens) -> str:
    """One row, no cache, no padding; reads the whole sequence again for every token."""
    ends = opened.model.generation_config.eos_token_id or []
    row, new = torch.as_tensor(ids)[None], []
    for _ in range(tokens):
        best = int(opened.model(input_ids=row, use_cache=False).logits[0, -1].argmax())
        if best in ends:
            break
        new.append(best)
        row = torch.cat([row, torch.tensor([[best]])], dim=1)
    text = opened.tokenizer.decode(new, skip_special_tokens=True).strip()
    return text.splitlines()[0].strip() if text else ""


def test_answers_equal_plain_greedy_decoding(opened, prompts) -> None:
    expected = [plain_greedy(opened, ids, 8) for ids in prompts.prompt_ids]
    assert answers(opened, prompts, 3) == expected
    assert len(set(expected)) > 1


def test_a_batch_of_n_is_n_batches_of_one(opened, prompts) -> None:
    assert answers(opened, prompts, 5) == answers(opened, prompts, 1)


def test_the_prompt_is_cut_off(opened, prompts) -> None:
    for text in answers(opened, prompts, 4):
        assert "Sentiment of" not in text
        assert "\n" not in text


def test_the_answers_end_with_the_end_of_text_token(opened, prompts) -> None:
    ids = torch.as_tensor(prompts.prompt_ids[0])
    with torch.inference_mode():
        first = int(opened.model(input_ids=ids[None]).logits[0, -1].argmax())
    before = opened.model.generation_config.eos_token_id
    opened.model.generation_config.eos_token_id = [first]
    try:
        assert answers(opened, prompts, 2)[0] == ""
    finally:
        opened.model.generation_config.eos_token_id = before


def test_an_answer_may_have_the_longest_labels_tokens_and_a_few(opened, prompts) -> None:
    longest = max(len(tokens) for labels in prompts.continuations for tokens in labels)
    assert longest < max_answer_tokens(prompts) <= longest + 8


def test_no_items_give_no_answers(opened) -> None:
    empty = encode_prompts(opened.tokenizer, opened.family, PROMPT, [], [], 200, "end")
    assert answers(opened, empty, 2) == []


def test_small_real_decoder_tells_a_story() -> None:
    folder = SHARED / "models" / "stories260k"
    if not folder.is_dir():
        pytest.skip("no ../shared/models/stories260k")
    opened = open_model(folder, "words")
    prompts = encode_prompts(opened.tokenizer, opened.family, PROMPT, EXAMPLES[:1], [], 200, "end")
    start = np.array(opened.tokenizer("Once upon a time")["input_ids"])
    prompts = replace(prompts, prompt_ids=[start])
    assert answers(opened, prompts, 1, 24)[0].startswith(", there was a little")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("positive", 1),
        (" Positive.", 1),
        ("**NEGATIVE**", 0),
        ('"negative"', 0),
        ("\n\npositive\nReview: negative", 1),
        ("very positive", 2),
        ("Very  Positive!", 2),
        ("positive, because I liked it", 1),
        ("negative negative", 0),
        ("positively", UNPARSED),
        ("positive or negative", UNPARSED),
        ("negative (not positive)", UNPARSED),
        ("not positive", UNPARSED),
        ("The sentiment is positive", UNPARSED),
        ("good", UNPARSED),
        ("", UNPARSED),
        ("   ", UNPARSED),
        ("!!!", UNPARSED),
    ],
)
def test_only_an_answer_that_opens_with_one_label_is_parsed(text, label) -> None:
    assert parse_answer(text, WORDS) == label


def test_labels_made_of_signs_are_parsed() -> None:
    assert parse_answer(":-)", (":-(", ":-)")) == 1
    assert parse_answer("+", ("-", "+")) == 1
    assert parse_answer("3 stars", ("1", "3", "33")) == 1


def question_rows(opened, groups=(4, 1, 3)):
    """Prompts in mixed order; those of a group share a prefix, like questions on one text."""
    draw = np.random.default_rng(1)
    ends = ("Then Lily saw a", "The dog was", "Tom and his mom", "She said it is")

    def ids(text):
        return np.array(opened.tokenizer(text, add_special_tokens=False)["input_ids"])

    rows = []
    for group, size in enumerate(groups):
        things = draw.permutation(["the film", "a big cat", "my friend", "the park", "a red ball"])
        text = f"Tom has {', '.join(things)} and {group} bad story."
        for number in range(size):
            prefix = np.concatenate([ids("Once upon a time there was a little girl."), ids(text)])
            rows.append(np.concatenate([prefix, ids(ends[(group + number) % 4])]))
    return [rows[index] for index in draw.permutation(len(rows))]


def as_prompts(opened, rows):
    prompts = encode_prompts(opened.tokenizer, opened.family, PROMPT, EXAMPLES[:1], [], 200, "end")
    return replace(prompts, prompt_ids=rows)


@pytest.mark.parametrize("min_saved", [0, 10**6])
def test_rows_with_a_common_prefix_get_the_same_answers_as_alone(opened, min_saved, monkeypatch) -> None:
    monkeypatch.setattr(prefix_cache, "MIN_TOKENS_SAVED", min_saved)
    rows = question_rows(opened)
    expected = [plain_greedy(opened, ids, 9) for ids in rows]
    assert len(set(expected)) > 2
    for size in (1, 3, 8):
        assert answers(opened, as_prompts(opened, rows), size, 9) == expected
    for name, value in (("MAX_PIECE_TOKENS", 17), ("MIN_PIECE_TOKENS", 5), ("MAX_ATTENTION_PAIRS", 2000)):
        monkeypatch.setattr(prefix_cache, name, value)
    assert answers(opened, as_prompts(opened, rows), 8, 9) == expected


def test_a_shared_text_is_read_once_and_finished_rows_are_not_read_further(opened, monkeypatch) -> None:
    monkeypatch.setattr(prefix_cache, "MIN_TOKENS_SAVED", 0)
    rows = question_rows(opened, (6,))
    prompts = as_prompts(opened, rows)
    with count_tokens_read(opened) as counts:
        answers(opened, prompts, 8, 1)
    distinct = count_distinct([row.tolist() for row in rows])
    assert distinct <= sum(counts) <= 1.1 * distinct < sum(map(len, rows)) / 3
    with torch.inference_mode():
        first = [
            int(opened.model(input_ids=torch.as_tensor(ids)[None]).logits[0, -1].argmax()) for ids in rows
        ]
    before = opened.model.generation_config.eos_token_id
    opened.model.generation_config.eos_token_id = sorted({*before, first[0], first[1]})
    try:
        expected = [plain_greedy(opened, ids, 9) for ids in rows]
        live = sum(token not in opened.model.generation_config.eos_token_id for token in first)
        with count_tokens_read(opened) as later_counts:
            assert answers(opened, prompts, 8, 9) == expected
    finally:
        opened.model.generation_config.eos_token_id = before
    assert live < 6
    assert max(later_counts[len(counts) :], default=0) <= live, "finished rows are read further"


def test_separate_rows_give_the_same_answers(opened, prompts, monkeypatch) -> None:
    shared = answers(opened, prompts, 3)
    monkeypatch.setattr(generate, "shares_prefixes", lambda model: False)
    assert answers(opened, prompts, 3) == shared


def test_out_of_memory_changes_no_answer(opened, monkeypatch) -> None:
    rows = question_rows(opened)
    expected = answers(opened, as_prompts(opened, rows), 8, 6)
    plain_batch, sizes = generate.PrefixTrieBatch, []

    def small_batch(model, tries, *args):
        sizes.append(sum(len(trie.rows_R) for trie in tries))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("out of memory")
        return plain_batch(model, tries, *args)

    monkeypatch.setattr(generate, "PrefixTrieBatch", small_batch)
    assert answers(opened, as_prompts(opened, rows), 8, 6) == expected
    assert max(sizes) > 2


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Paris", "Paris"),
        ("  in   1066 ", "in 1066"),
        ("Unanswerable.", ""),
        ('"unanswerable" in this context', ""),
        ("unanswerables", "unanswerables"),
        ("not unanswerable", "not unanswerable"),
        ("", ""),
    ],
)
def test_a_question_is_unanswered_where_the_answer_begins_with_the_phrase(text, answer):
    assert parse_question_answer(text, "unanswerable") == answer
