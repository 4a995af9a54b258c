"""Windows over contexts: characters to tokens and back, overlaps, the null slot, real answers."""

import gzip
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_models import tiny_config, tiny_tokenizer
from tuneproof.data.windows import (
    build_window_template,
    collate_windows,
    encode_contexts,
    encode_windows,
    gold_tokens,
    span_text,
)
from tuneproof.errors import DataError
from tuneproof.families import family_of
from tuneproof.families.models import resolve_model
from tuneproof.metrics.matching import best_of
from tuneproof.models.checkpoint_files import read_config, read_tokenizer_with_notes
from tuneproof.tasks.question_rows import QuestionRow, build_examples
from tuneproof.tasks.task import Example

SHARED = Path(__file__).parents[2].parent / "shared"
WORDS = "She watched the wonderful plot and said it was very good . The critic hated the music ."
CONTEXT = " ".join([WORDS] * 6)


def example(answer: str | None = "wonderful plot", start: int | None = None, **more) -> Example:
    """One question about the context."""
    row = {"context": CONTEXT, "question": "What was watched?", **more}
    answers = () if answer is None else (answer,)
    starts = () if answer is None else (start,)
    return build_examples(
        [QuestionRow("here", "q", "t", row["context"], row["question"], answers, starts)], False
    )[0]


def tools(kind: str):
    tokenizer = tiny_tokenizer(kind)
    family = family_of(tiny_config(kind, tokenizer))
    tokenizer.pad_token = family.pad_rule(tokenizer, tiny_config(kind, tokenizer)).token
    return tokenizer, family


KINDS = pytest.mark.parametrize("kind", ["bert", "llama", "mistral", "gpt2", "gemma"])


@KINDS
def test_the_gold_comes_back_from_every_window_that_holds_it(kind):
    tokenizer, family = tools(kind)
    starts = [i for i in range(len(CONTEXT)) if CONTEXT.startswith("wonderful plot", i)]
    for start in starts:
        item = example(start=start)
        found = encode_windows(tokenizer, family, [item], 100, 24)
        holding = [w for w in found.windows if w.gold_positions != (w.null_position, w.null_position)]
        assert holding
        assert found.split_N[0]
        assert not found.outside_N[0]
        for window in holding:
            move = window.first_token - window.context_start
            first, last = window.gold_positions[0] + move, window.gold_positions[1] + move
            assert span_text(item.required_question, found.contexts[0], first, last) == "wonderful plot"
            assert found.contexts[0].start_T[first] == start


@KINDS
def test_windows_cover_the_context_and_neighbours_share_the_stride(kind):
    tokenizer, family = tools(kind)
    found = encode_windows(tokenizer, family, [example()], 100, 24)
    windows, size = found.windows, len(found.contexts[0].ids)
    assert windows[0].first_token == 0
    assert windows[-1].first_token + windows[-1].context_length == size
    for window, after in pairwise(windows):
        assert window.first_token + window.context_length - after.first_token == 24
        assert len(window.ids) == 100
        part = found.contexts[0].ids[window.first_token : window.first_token + window.context_length]
        start, end = window.context_start, window.context_start + window.context_length
        assert window.ids[start:end].tolist() == part
    assert found.tokens_N[0] == sum(len(window.ids) for window in windows)


def test_an_encoder_withholds_at_its_first_token_a_causal_model_at_its_last():
    for kind, last in (("bert", False), ("llama", True)):
        tokenizer, family = tools(kind)
        found = encode_windows(tokenizer, family, [example(None)], 100, 24)
        for window in found.windows:
            assert window.null_position == (len(window.ids) - 1 if last else 0)
            assert window.gold_positions == (window.null_position, window.null_position)
        assert not found.outside_N[0], "without a gold there is none to lose"
        whole = tokenizer.decode(found.windows[0].ids)
        assert whole.lower().index("watched") < whole.lower().index("the critic"), "question first"


def test_an_encoder_has_the_tokens_and_types_of_its_tokenizers_own_pair():
    tokenizer, family = tools("bert")
    item = example(context=WORDS)
    found = encode_windows(tokenizer, family, [item], 100, 24)
    question = item.required_question
    pair = tokenizer(question.question, question.context, return_token_type_ids=True)
    assert found.windows[0].ids.tolist() == pair["input_ids"]
    assert found.windows[0].token_types.tolist() == pair["token_type_ids"]
    assert build_window_template(tokenizer, family).token_types == (0, 1)


def test_a_special_tokens_string_in_a_context_moves_no_offset():
    tokenizer, family = tools("bert")
    context = "The [MASK] said the wonderful plot was [SEP] good ."
    item = example(context=context)
    found = encode_windows(tokenizer, family, [item], 100, 24)
    window = found.windows[0]
    ids = window.ids[window.context_start : window.context_start + window.context_length]
    assert not set(ids.tolist()) & {tokenizer.mask_token_id, tokenizer.sep_token_id}
    first, last = gold_tokens(item.required_question, found.contexts[0])[0]
    assert span_text(item.required_question, found.contexts[0], first, last) == "wonderful plot"


@pytest.mark.parametrize("mark", ["w", " w", "w\n", "said"])
def test_a_special_token_of_one_character_or_with_a_space_moves_no_offset(mark):
    tokenizer, family = tools("bert")
    tokenizer.add_special_tokens({"pad_token": mark})
    context = "The w film w said w\n the wonderful plot was\n good w"
    item = example(context=context)
    found = encode_windows(tokenizer, family, [item], 100, 24)
    first, last = gold_tokens(item.required_question, found.contexts[0])[0]
    assert span_text(item.required_question, found.contexts[0], first, last) == "wonderful plot"


def test_an_answer_longer_than_the_stride_may_be_outside_and_is_counted():
    tokenizer, family = tools("bert")
    answer = CONTEXT[40:330]
    found = encode_windows(tokenizer, family, [example(answer)], 64, 8)
    assert found.outside_N[0]
    assert all(w.gold_positions == (w.null_position, w.null_position) for w in found.windows)


def test_a_question_that_leaves_no_room_is_refused_by_its_id():
    tokenizer, family = tools("bert")
    with pytest.raises(DataError, match="question q"):
        encode_windows(tokenizer, family, [example(question="Was it very good? " * 20)], 64, 8)
    with pytest.raises(DataError, match=r"lower encode\.stride"):
        encode_windows(tokenizer, family, [example()], 64, 60)


def test_a_batch_allows_the_context_and_the_null_slot_alone():
    tokenizer, family = tools("llama")
    windows = encode_windows(tokenizer, family, [example(), example(context=WORDS)], 100, 24).windows
    batch = collate_windows(windows, tokenizer.pad_token_id)
    for row, window in enumerate(windows):
        allowed = np.flatnonzero(batch["allowed"][row].numpy())
        end = window.context_start + window.context_length
        wanted = [*range(window.context_start, end), window.null_position]
        assert allowed.tolist() == sorted(wanted)
        assert batch["attention_mask"][row].sum() == len(window.ids)


def official() -> list[Example]:
    """The answerable questions of the official dev file."""
    data = json.loads(gzip.decompress((SHARED / "data/squad_v2/dev-v2.0.json.gz").read_bytes()))
    rows = [
        QuestionRow(
            "",
            q["id"],
            a["title"],
            p["context"],
            q["question"],
            tuple(x["text"] for x in q["answers"]),
            tuple(x["answer_start"] for x in q["answers"]),
        )
        for a in data["data"]
        for p in a["paragraphs"]
        for q in p["qas"]
        if q["answers"]
    ]
    return build_examples(rows, False)


@pytest.mark.parametrize("name", ["minilm", "demo"])
def test_real_answers_survive_the_way_to_tokens_and_back(name):
    """WordPiece and byte-level BPE; what does not survive is counted and named."""
    folder = SHARED / "models" / "minilm-l6"
    if not (SHARED / "data/squad_v2").is_dir() or (name == "minilm" and not folder.is_dir()):
        pytest.skip("../shared is not there")
    source = resolve_model(str(folder) if name == "minilm" else "demo")
    config = read_config(source)
    family = family_of(config)
    tokenizer = read_tokenizer_with_notes(source, config, family)[0]
    items = official()
    assert len(items) == 5_928
    found = encode_windows(tokenizer, family, items, 384, 128)
    best = {w.item: w for w in reversed(found.windows) if w.gold_positions != (w.null_position,) * 2}
    lost = []
    for place, item in enumerate(items):
        window = best.get(place)
        text = ""
        if window is not None:
            move = window.first_token - window.context_start
            first, last = (position + move for position in window.gold_positions)
            text = span_text(item.required_question, found.contexts[place], first, last)
        if best_of(item.required_question.answers, text)[1] < 1:
            lost.append(item.id)
    # an annotation that ends inside a number, and one that begins inside a word
    assert set(lost) <= {"5729e2316aef0514001550c5", "57264991f1498d1400e8db30"}
    assert 1 - len(lost) / len(items) >= 0.995
    assert not found.outside_N.any()


def test_equal_contexts_are_read_once():
    tokenizer, _ = tools("bert")
    first, second, other = encode_contexts(tokenizer, [WORDS, WORDS, CONTEXT])
    assert first is second
    assert first is not other
