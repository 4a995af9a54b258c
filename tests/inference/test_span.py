"""From logits to one answer per question: bounded lengths, the null position, several windows."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tuneproof.data.windows import Context, EncodedWindows, Window
from tuneproof.inference.span import (
    NEVER,
    Candidate,
    WindowSpans,
    best_spans,
    select_answers,
    span_logits,
    span_losses,
)
from tuneproof.tasks.task import Example, Question

LONG = "zero one two three four five six seven"


def window(item: int = 0, first: int = 0, size: int = 5, null: int = 0) -> Window:
    return Window(item, np.arange(size + 3), 2, first, size, null, (null, null), None)


def example() -> tuple[Example, Context]:
    starts = [LONG.index(word) for word in LONG.split()]
    ends = [start + len(word) for start, word in zip(starts, LONG.split(), strict=True)]
    question = Question("?", LONG, (), "p")
    return Example("q", "", 0, "g", (), question), Context(list(range(8)), starts, ends)


@pytest.mark.parametrize("max_tokens", [1, 2, 30])
def test_the_best_span_is_the_best_of_all_that_are_short_enough(max_tokens):
    torch.manual_seed(0)
    for trial in range(20):
        logits = torch.randn(1, 8, 2) * 3
        allowed = torch.zeros(8, dtype=torch.bool)
        allowed[[0, 2, 3, 4, 5, 6]] = True
        logits = logits.masked_fill(~allowed[None, :, None], NEVER)
        candidates = best_spans(logits, [window()], max_tokens)[0]
        scores = {
            (a - 2, b - 2): float(logits[0, a, 0] + logits[0, b, 1])
            for a, b in product(range(2, 7), range(2, 7))
            if 0 <= b - a < max_tokens
        }
        best = max(scores, key=scores.__getitem__)
        assert (candidates[0].first, candidates[0].last) == best, trial
        assert candidates[0].score == pytest.approx(scores[best])
        assert all(c.last - c.first < max_tokens for c in candidates)
        assert [c.score for c in candidates] == sorted((c.score for c in candidates), reverse=True)


def test_the_null_position_is_no_span_even_with_the_highest_logits():
    logits = torch.full((1, 8, 2), NEVER)
    logits[0, [0, 2, 3, 4, 5, 6]] = 0.0
    logits[0, 0] = 50.0
    assert all(c.score == 0 for c in best_spans(logits, [window()], 5)[0])


def test_one_answer_comes_from_the_best_window_against_the_lowest_null_score():
    item, context = example()
    windows = [window(0, 0), window(0, 3)]
    parts = EncodedWindows(windows, [context], np.array([16]), np.array([True]), np.array([False]))
    best = [[Candidate(1, 2, 4.0), Candidate(3, 3, 1.0)], [Candidate(3, 3, 5.0), Candidate(6, 7, 2.0)]]
    spans = WindowSpans(np.array([7.0, 3.0]), np.zeros(2), best)
    answers = select_answers(spans, parts, [item])
    assert answers.answers == ["three"]
    assert answers.score_N.tolist() == [5.0]
    assert answers.null_N.tolist() == [3.0 - 5.0]
    assert [row["text"] for row in answers.nbest[0]] == ["three", "one two", "six seven"]
    assert [row["score"] for row in answers.nbest[0]] == [5.0, 4.0, 2.0]


def test_a_question_without_a_possible_span_is_not_answered():
    item, context = example()
    parts = EncodedWindows([window()], [context], np.array([8]), np.array([False]), np.array([False]))
    answers = select_answers(WindowSpans(np.array([1.0]), np.zeros(1), [[]]), parts, [item])
    assert answers.answers == [""]
    assert answers.null_N[0] > 0
    assert np.isfinite(answers.null_N[0])


def test_positions_outside_the_context_are_excluded_and_the_loss_is_the_mean_of_both_ends():
    class Model(torch.nn.Module):
        base_model = None  # no stack of layers that could skip padding

        def forward(self, input_ids, attention_mask):
            logits = torch.arange(8.0)[None].expand(len(input_ids), -1)
            return SimpleNamespace(start_logits=logits, end_logits=-logits)

    batch = {
        "input_ids": torch.zeros(1, 8, dtype=torch.long),
        "attention_mask": torch.ones(1, 8, dtype=torch.long),
        "token_type_ids": torch.zeros(1, 8, dtype=torch.long),
        "allowed": torch.tensor([[True, False, True, True, False, False, False, False]]),
        "start": torch.tensor([3]),
        "end": torch.tensor([0]),
    }
    logits = span_logits(Model(), batch)
    assert (logits[0, [1, 4, 5, 6, 7]] == NEVER).all()
    start = -torch.log_softmax(torch.tensor([0.0, 2.0, 3.0]), 0)[2]
    end = -torch.log_softmax(torch.tensor([0.0, -2.0, -3.0]), 0)[0]
    assert span_losses(logits, batch)[0] == pytest.approx(float((start + end) / 2))


@pytest.mark.parametrize("kind", ["roberta", "bert"])
def test_an_encoder_numbers_positions_as_in_pretraining(kind):
    from transformers import AutoConfig, AutoModelForQuestionAnswering

    from tuneproof.data.windows import collate_windows

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind,
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=40,
        pad_token_id=1,
        initializer_range=0.5,
    )
    model = AutoModelForQuestionAnswering.from_config(config).eval()
    ids = np.arange(3, 11)
    window = Window(0, ids, 2, 0, 5, 0, (0, 0), None)
    with torch.no_grad():
        plain = model(input_ids=torch.from_numpy(ids)[None])
        logits = span_logits(model, collate_windows([window], 1))
    assert torch.allclose(logits[0, 2:7, 0], plain.start_logits[0, 2:7], atol=1e-5)
