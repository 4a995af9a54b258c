"""Generated answers, and the labels that are or are not read off them.

In: tiny models and the small real decoder. Out: nothing. Knows nothing of: the pipeline.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.inference.test_label_likelihood import EXAMPLES, PROMPT, different, tokens_read
from tests.open_model import SHARED, open_model
from tests.tiny_models import DECODERS, tiny_model
from tuneproof.data.encode import encode_prompts
from tuneproof.inference import generate
from tuneproof.inference.generate import answer_budget, generate_answers, parse_answer
from tuneproof.metrics.metric import UNPARSED
from tuneproof.models import prefix_cache as prefix

ASKED = replace(PROMPT, template="Sentiment of: {text}")  # the prompts end differently
WORDS = ("negative", "positive", "very positive")


@pytest.fixture(scope="module", params=[*DECODERS, "stories260k"])
def opened(request, tmp_path_factory):
    kind = request.param
    if kind == "stories260k":
        folder = SHARED / "models" / kind
        if not folder.is_dir():
            pytest.skip("the small real decoder is not here (../shared/models/stories260k)")
        return open_model(folder, "words")
    return open_model(tiny_model(tmp_path_factory.mktemp("m") / kind, kind), "words")


@pytest.fixture
def prompts(opened):
    return encode_prompts(opened.tokenizer, opened.family, ASKED, EXAMPLES, [], 200, "end")


def answers(opened, prompts, batch_size, tokens=8):
    return generate_answers(
        opened.model, opened.tokenizer, prompts, opened.tokenizer.pad_token_id, batch_size, tokens
    )


@torch.inference_mode()
def plain_greedy(opened, ids, tokens) -> str:
    """One row, no cache, no padding, the whole sequence again for every token."""
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
    expected = [plain_greedy(opened, ids, 8) for ids in prompts.prompts]
    assert answers(opened, prompts, 3) == expected
    assert len(set(expected)) > 1


def test_a_batch_of_n_is_n_batches_of_one(opened, prompts) -> None:
    assert answers(opened, prompts, 5) == answers(opened, prompts, 1)


def test_the_prompt_is_cut_off(opened, prompts) -> None:
    for text in answers(opened, prompts, 4):
        assert "Sentiment of" not in text
        assert "\n" not in text


def test_the_answers_end_with_the_end_of_text_token(opened, prompts) -> None:
    with torch.inference_mode():
        first = int(opened.model(input_ids=torch.as_tensor(prompts.prompts[0])[None]).logits[0, -1].argmax())
    before = opened.model.generation_config.eos_token_id
    opened.model.generation_config.eos_token_id = [first]
    try:
        assert answers(opened, prompts, 2)[0] == ""
    finally:
        opened.model.generation_config.eos_token_id = before


def test_the_budget_is_the_longest_label_and_a_few(opened, prompts) -> None:
    longest = max(len(way) for ways in prompts.continuations for way in ways)
    assert longest < answer_budget(prompts) <= longest + 8


def test_no_items_give_no_answers(opened) -> None:
    none = encode_prompts(opened.tokenizer, opened.family, PROMPT, [], [], 200, "end")
    assert answers(opened, none, 2) == []


def test_small_real_decoder_tells_a_story() -> None:
    folder = SHARED / "models" / "stories260k"
    if not folder.is_dir():
        pytest.skip("the small real decoder is not here (../shared/models/stories260k)")
    opened = open_model(folder, "words")
    prompts = encode_prompts(opened.tokenizer, opened.family, PROMPT, EXAMPLES[:1], [], 200, "end")
    start = np.array(opened.tokenizer("Once upon a time")["input_ids"])
    prompts = type(prompts)(**{**vars(prompts), "prompts": [start]})
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


def questions(opened, groups=(4, 1, 3)):
    """Prompts of which groups begin alike, as questions on one text do, in mixed order."""
    draw = np.random.default_rng(1)
    ends = ("Then Lily saw a", "The dog was", "Tom and his mom", "She said it is")

    def ids(text):
        return np.array(opened.tokenizer(text, add_special_tokens=False)["input_ids"])

    rows = []
    for group, size in enumerate(groups):
        words = draw.permutation(["the film", "a big cat", "my friend", "the park", "a red ball"])
        text = f"Tom has {', '.join(words)} and {group} bad story."
        for place in range(size):
            begun = np.concatenate([ids("Once upon a time there was a little girl."), ids(text)])
            rows.append(np.concatenate([begun, ids(ends[(group + place) % 4])]))
    return [rows[place] for place in draw.permutation(len(rows))]


def asked(opened, rows):
    prompts = encode_prompts(opened.tokenizer, opened.family, PROMPT, EXAMPLES[:1], [], 200, "end")
    return type(prompts)(**{**vars(prompts), "prompts": rows})


@pytest.mark.parametrize("least", [0, 10**6])
def test_rows_that_share_what_they_begin_with_answer_as_alone(opened, least, monkeypatch) -> None:
    monkeypatch.setattr(prefix, "LEAST_SAVED", least)
    rows = questions(opened)
    expected = [plain_greedy(opened, ids, 9) for ids in rows]
    assert len(set(expected)) > 2
    for size in (1, 3, 8):
        assert answers(opened, asked(opened, rows), size, 9) == expected
    for name, value in (("MOST_TOKENS", 17), ("LEAST_TOKENS", 5), ("PAIRS", 2000)):
        monkeypatch.setattr(prefix, name, value)
    assert answers(opened, asked(opened, rows), 8, 9) == expected


def test_a_shared_text_is_read_once_and_ended_rows_are_not_read_on(opened, monkeypatch) -> None:
    monkeypatch.setattr(prefix, "LEAST_SAVED", 0)
    rows = questions(opened, (6,))
    prompts = asked(opened, rows)
    with tokens_read(opened) as counts:
        answers(opened, prompts, 8, 1)
    read = different([row.tolist() for row in rows])
    assert read <= sum(counts) <= 1.1 * read < sum(map(len, rows)) / 3
    with torch.inference_mode():
        first = [
            int(opened.model(input_ids=torch.as_tensor(ids)[None]).logits[0, -1].argmax()) for ids in rows
        ]
    before = opened.model.generation_config.eos_token_id
    opened.model.generation_config.eos_token_id = sorted({*before, first[0], first[1]})
    try:
        expected = [plain_greedy(opened, ids, 9) for ids in rows]
        live = sum(one not in opened.model.generation_config.eos_token_id for one in first)
        with tokens_read(opened) as more:
            assert answers(opened, prompts, 8, 9) == expected
    finally:
        opened.model.generation_config.eos_token_id = before
    assert live < 6
    assert max(more[len(counts) :], default=0) <= live, "rows that ended are read on"


def test_a_model_that_takes_no_packs_gives_the_same_answers(opened, prompts, monkeypatch) -> None:
    shared = answers(opened, prompts, 3)
    monkeypatch.setattr(generate, "shares_prefixes", lambda model: False)
    assert answers(opened, prompts, 3) == shared


def test_answers_are_the_same_where_memory_runs_out(opened, monkeypatch) -> None:
    rows = questions(opened)
    expected = answers(opened, asked(opened, rows), 8, 6)
    plain, tried = generate.Packed, []

    def small(model, packs, *more):
        tried.append(sum(len(pack.rows_R) for pack in packs))
        if tried[-1] > 2:
            raise torch.OutOfMemoryError("out of memory")
        return plain(model, packs, *more)

    monkeypatch.setattr(generate, "Packed", small)
    assert answers(opened, asked(opened, rows), 8, 6) == expected
    assert max(tried) > 2
