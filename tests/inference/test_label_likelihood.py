"""Label likelihoods equal a slow and plain reference.

In: tiny models and the small real decoder. Out: nothing. Knows nothing of: studies.
"""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM

from tests.open_model import SHARED, open_model
from tests.tiny_models import DECODERS, ENCODERS, tiny_model
from tuneproof.data.encode import EncodedPrompts, encode_cloze, encode_prompts
from tuneproof.data.prefix_trie import common_prefix_of_all
from tuneproof.errors import RecipeError
from tuneproof.inference import label_likelihood
from tuneproof.inference.label_likelihood import (
    CONTENT_FREE_TEXTS,
    calibrate,
    content_free_probabilities,
    count_logit_positions,
    probabilities,
    score_cloze,
    score_labels,
)
from tuneproof.models import prefix_cache
from tuneproof.models.oom import AdaptiveBatchSize
from tuneproof.tasks.task import Example, Prompt

WORDS = ("very good", "bad", "not good at all")
PROMPT = Prompt(
    instruction="Is it positive or negative?",
    template="Review: {text}\nSentiment:",
    words=WORDS,
    cloze="{text} It was {mask}.",
    cloze_words=("great", "bad"),
)
EXAMPLES = [
    Example(str(index), text, 0, str(index))
    for index, text in enumerate(
        [
            "A tired viewer finished the music and said it was not good at all.",
            "good",
            "She liked the wonderful plot",
            "",
            "Nobody watched the film and said it was bad. My friend hated the story.",
        ]
    )
]
SHOTS = [Example("s1", "The critic liked the music", 0, "s1"), Example("s2", "It was bad", 1, "s2")]
SLACK = 1.3  # rows of different tries share a few tokens, which are read again
KINDS = [*DECODERS, "chat-gemma2", "chat-mistral", "stories260k"]


@pytest.fixture(scope="module", params=KINDS)
def opened(request, tmp_path_factory):
    kind = request.param
    if kind == "stories260k":
        folder = SHARED / "models" / kind
        if not folder.is_dir():
            pytest.skip("no ../shared/models/stories260k")
        return open_model(folder, "words")
    chat = kind.startswith("chat-")
    kind = kind.removeprefix("chat-")
    return open_model(tiny_model(tmp_path_factory.mktemp("m") / kind, kind, chat=chat), "words")


def encode(opened, prompt=PROMPT, examples=EXAMPLES):
    return encode_prompts(opened.tokenizer, opened.family, prompt, examples, SHOTS, 256, "end")


@torch.inference_mode()
def reference(opened, prompts) -> np.ndarray:
    """One sequence at a time, no cache, no padding, full logits, float32."""
    scores = []
    for context, continuations in zip(prompts.contexts, prompts.continuations, strict=True):
        row = []
        for tokens in continuations:
            ids = torch.as_tensor(np.concatenate([context, tokens]))
            logits = opened.model(input_ids=ids[None], use_cache=False).logits[0].float()
            logs = torch.log_softmax(logits, dim=-1)
            positions = range(len(context), len(ids))
            row.append(sum(float(logs[position - 1, ids[position]]) for position in positions))
        scores.append(row)
    return np.array(scores)


def score(opened, prompts, batch_size=3):
    pad_id = opened.tokenizer.pad_token_id
    return score_labels(opened.model, prompts, pad_id, AdaptiveBatchSize(batch_size))


def test_scores_equal_the_plain_reference_for_labels_of_several_tokens(opened) -> None:
    prompts = encode(opened)
    assert max(len(tokens) for labels in prompts.continuations for tokens in labels) > 1
    scores = score(opened, prompts)
    assert scores.dtype == np.float64
    assert scores.std() > 0.05, "equal scores would test nothing"
    np.testing.assert_allclose(scores, reference(opened, prompts), atol=1e-4)


def test_a_batch_of_n_is_n_batches_of_one(opened) -> None:
    prompts = encode(opened)
    np.testing.assert_allclose(score(opened, prompts, 16), score(opened, prompts, 1), atol=1e-4)


def test_the_pad_token_moves_no_score(opened) -> None:
    prompts = encode(opened)
    other = score_labels(opened.model, prompts, 5, AdaptiveBatchSize(4))
    np.testing.assert_allclose(other, score(opened, prompts), atol=1e-4)


def rows_to_read(prompts):
    """The tokens of every label but its last one, after its prompt."""
    for context, continuations in zip(prompts.contexts, prompts.continuations, strict=True):
        for tokens in continuations:
            yield np.concatenate([context, tokens[:-1]]).tolist()


def count_distinct(rows):
    """The number of tokens if every shared prefix counts once."""
    return len({tuple(row[: end + 1]) for row in rows for end in range(len(row))})


@contextmanager
def count_tokens_read(opened):
    """A list with the number of tokens of each forward pass, padding included."""
    counts = []
    hook = opened.model.get_input_embeddings().register_forward_hook(
        lambda module, inputs, output: counts.append(inputs[0].numel())
    )
    try:
        yield counts
    finally:
        hook.remove()


def test_no_shared_prefix_of_prompts_and_labels_is_read_twice(opened, monkeypatch) -> None:
    prompts = encode(opened)
    rows = list(rows_to_read(prompts))
    for min_saved, passes in ((10**6, 1), (0, 2)):  # without and with a pass for the common prefix
        monkeypatch.setattr(prefix_cache, "MIN_TOKENS_SAVED", min_saved)
        with count_tokens_read(opened) as counts:
            scores = score(opened, prompts, 8)
        assert len(counts) == passes
        assert sum(counts) <= SLACK * count_distinct(rows) < sum(map(len, rows)) / 3
        np.testing.assert_allclose(scores, reference(opened, prompts), atol=1e-4)


def test_the_common_prefix_is_read_once_and_not_in_every_batch(opened, monkeypatch) -> None:
    monkeypatch.setattr(prefix_cache, "MIN_TOKENS_SAVED", 0)
    prompts = encode(opened)
    shared = common_prefix_of_all(prompts.contexts)
    assert shared > 20, "the instruction and the shots"
    with count_tokens_read(opened) as counts:
        score(opened, prompts, 1)
    rest = [
        count_distinct([row[shared:] for row in rows_to_read(select(prompts, [item]))])
        for item in range(len(EXAMPLES))
    ]
    assert len(counts) == 1 + len(EXAMPLES)
    assert shared in counts
    assert sum(counts) <= SLACK * (shared + sum(rest)) < len(EXAMPLES) * shared


def select(prompts, items):
    columns = {
        name: [getattr(prompts, name)[item] for item in items]
        for name in ("contexts", "continuations", "prompt_ids")
    }
    return replace(prompts, **columns)


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("max_length", [256, 60])
def test_pieces_shots_and_truncation_change_no_score(opened, shots, max_length, monkeypatch) -> None:
    monkeypatch.setattr(prefix_cache, "MIN_TOKENS_SAVED", 0)
    try:
        prompts = encode_prompts(
            opened.tokenizer, opened.family, PROMPT, EXAMPLES, SHOTS[:shots], max_length, "end"
        )
    except RecipeError:
        pytest.skip("the prompt does not fit without its text")
    expected = reference(opened, prompts)
    for name, value in (("MAX_PIECE_TOKENS", 17), ("MIN_PIECE_TOKENS", 5), ("MAX_ATTENTION_PAIRS", 2000)):
        monkeypatch.setattr(prefix_cache, name, value)
    for size in (1, 4):
        with count_tokens_read(opened) as counts:
            scores = score(opened, prompts, size)
        np.testing.assert_allclose(scores, expected, atol=1e-4)
        assert max(counts) <= 4 * 17


def test_many_labels_of_several_tokens_are_branches_of_one_prompt(opened) -> None:
    draw = np.random.default_rng(0)
    labels = tuple(np.array([50 + label // 2, *draw.integers(20, 170, 2)]) for label in range(20))
    prompts = replace(select(encode(opened), [1, 2]), continuations=[labels] * 2)
    with count_tokens_read(opened) as counts:
        scores = score(opened, prompts, 8)
    rows = list(rows_to_read(prompts))
    assert sum(counts) <= SLACK * count_distinct(rows) < sum(map(len, rows)) / 4
    np.testing.assert_allclose(scores, reference(opened, prompts), atol=1e-4)


def test_equal_prompts_are_scored_as_one(opened) -> None:
    prompts = encode(opened, examples=[EXAMPLES[0]] * 3)
    scores = score(opened, prompts)
    np.testing.assert_allclose(scores, reference(opened, prompts), atol=1e-4)
    assert (scores == scores[:1]).all()


def test_few_logits_exist_at_once(opened, monkeypatch) -> None:
    prompts = encode(opened)
    widest = []
    head = opened.model.get_output_embeddings()
    hook = head.register_forward_hook(lambda module, inputs, output: widest.append(output.shape[:-1].numel()))
    fewest = count_logit_positions(prompts.continuations[0])
    monkeypatch.setattr(label_likelihood, "MAX_LOGITS", 1)
    scores = score(opened, prompts, 8)
    hook.remove()
    assert 1 < fewest <= max(widest) <= SLACK * fewest
    np.testing.assert_allclose(scores, score(opened, prompts, 8), atol=1e-4)


def test_a_model_without_position_ids_reads_separate_rows() -> None:
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=250, hidden_size=32, n_layer=2, n_head=4)
    model = BloomForCausalLM(config).eval()
    assert not prefix_cache.shares_prefixes(model)
    bloom = SimpleNamespace(model=model, tokenizer=SimpleNamespace(pad_token_id=0))
    draw = np.random.default_rng(0)
    contexts = [draw.integers(5, 250, size) for size in (9, 30, 17)]
    labels = [tuple(draw.integers(5, 250, size) for size in (1, 3, 2)) for _ in contexts]
    prompts = EncodedPrompts(
        *(contexts, labels, contexts, np.array([12, 33, 20]), np.array([12, 33, 20])),
        *(np.zeros(3, dtype=bool), {}, False, ""),
    )
    np.testing.assert_allclose(score(bloom, prompts, 2), reference(bloom, prompts), atol=1e-4)


def test_separate_rows_have_the_same_scores(opened, monkeypatch) -> None:
    assert prefix_cache.shares_prefixes(opened.model)
    prompts = encode(opened)
    expected = reference(opened, prompts)
    monkeypatch.setattr(label_likelihood, "shares_prefixes", lambda model: False)
    np.testing.assert_allclose(score(opened, prompts), expected, atol=1e-4)
    single = [tuple(np.array([10 + label]) for label in range(3)) for _ in prompts.continuations]
    prompts = replace(prompts, continuations=single)
    with count_tokens_read(opened) as counts:
        score(opened, prompts, 1)
    assert len(counts) == len(EXAMPLES), "labels of one token share one forward pass per item"


def test_logits_exist_only_at_the_label_positions(opened, monkeypatch) -> None:
    prompts = encode(opened)
    positions = []
    head = opened.model.get_output_embeddings()
    hook = head.register_forward_hook(
        lambda module, inputs, output: positions.append(output.shape[:-1].numel())
    )
    score(opened, prompts)
    hook.remove()
    label_tokens = sum(len(tokens) for labels in prompts.continuations for tokens in labels)
    assert 0 < sum(positions) <= label_tokens < sum(len(context) for context in prompts.contexts)


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request, tmp_path_factory):
    return open_model(tiny_model(tmp_path_factory.mktemp("e") / request.param, request.param), "cloze")


@torch.inference_mode()
def test_cloze_scores_equal_the_plain_reference(encoder) -> None:
    cloze = encode_cloze(encoder.tokenizer, encoder.family, PROMPT, EXAMPLES, 64, "end")
    rows = []
    for ids, mask in zip(cloze.ids, cloze.mask_N, strict=True):
        logits = encoder.model(input_ids=torch.as_tensor(ids)[None]).logits[0, mask].float()
        rows.append(torch.log_softmax(logits, -1)[torch.as_tensor(cloze.word_ids_C)].numpy())
    for batch_size in (1, 3, 8):
        scores = score_cloze(encoder.model, cloze, 0, AdaptiveBatchSize(batch_size))
        np.testing.assert_allclose(scores, np.array(rows), atol=1e-4)
    assert np.array(rows).std() > 0.05


def test_probabilities_sum_to_one_and_survive_tiny_likelihoods() -> None:
    shares = probabilities(np.array([[-2000.0, -2001.0], [0.0, -900.0]]))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares[0], [0.7310585786, 0.2689414214])


def test_calibration_makes_the_content_free_input_even() -> None:
    free = np.log(np.array([[0.9, 0.1], [0.7, 0.3]]))
    mean = content_free_probabilities(free)
    np.testing.assert_allclose(mean, [0.8, 0.2])
    np.testing.assert_allclose(probabilities(calibrate(np.log([[0.8, 0.2]]), mean)), [[0.5, 0.5]])


def test_calibration_by_hand() -> None:
    # p = (0.6, 0.4), p_cf = (0.8, 0.2): 0.6/0.8 = 0.75 and 0.4/0.2 = 2, so 3/11 and 8/11.
    shares = probabilities(calibrate(np.log([[0.6, 0.4]]), [0.8, 0.2]))
    np.testing.assert_allclose(shares, [[3 / 11, 8 / 11]])


def test_an_even_content_free_input_changes_nothing() -> None:
    scores = np.log([[0.6, 0.3, 0.1]])
    np.testing.assert_allclose(probabilities(calibrate(scores, np.full(3, 1 / 3))), probabilities(scores))


def test_content_free_inputs_can_be_scored(opened) -> None:
    examples = [Example(text, text, 0, text) for text in CONTENT_FREE_TEXTS]
    free = content_free_probabilities(score(opened, encode(opened, examples=examples)))
    assert free.shape == (3,)
    np.testing.assert_allclose(free.sum(), 1)


def test_no_items_give_no_scores(opened) -> None:
    assert len(score(opened, encode(opened, examples=[]))) == 0
