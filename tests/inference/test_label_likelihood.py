"""Label likelihoods equal a reference that does everything the slow and plain way.

In: tiny models and the small real decoder. Out: nothing. Knows nothing of: the pipeline.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM

from tests.open_model import SHARED, open_model
from tests.tiny_models import DECODERS, ENCODERS, tiny_model
from tuneproof.data.encode import EncodedPrompts, encode_cloze, encode_prompts
from tuneproof.data.prefix_trie import common_start
from tuneproof.errors import RecipeError
from tuneproof.inference import label_likelihood as choose
from tuneproof.inference.label_likelihood import (
    CONTENT_FREE,
    calibrate,
    cloze_log_likelihoods,
    content_free,
    label_log_likelihoods,
    label_places,
    probabilities,
)
from tuneproof.models import prefix_cache as prefix
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
    Example(str(place), text, 0, str(place))
    for place, text in enumerate(
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
SLACK = 1.3  # a few tokens that rows which are no kin begin with are read again
KINDS = [*DECODERS, "chat-gemma2", "chat-mistral", "stories260k"]


@pytest.fixture(scope="module", params=KINDS)
def opened(request, tmp_path_factory):
    kind = request.param
    if kind == "stories260k":
        folder = SHARED / "models" / kind
        if not folder.is_dir():
            pytest.skip("the small real decoder is not here (../shared/models/stories260k)")
        return open_model(folder, "words")
    chat = kind.startswith("chat-")
    kind = kind.removeprefix("chat-")
    return open_model(tiny_model(tmp_path_factory.mktemp("m") / kind, kind, chat=chat), "words")


def encoded(opened, prompt=PROMPT, examples=EXAMPLES):
    return encode_prompts(opened.tokenizer, opened.family, prompt, examples, SHOTS, 256, "end")


@torch.inference_mode()
def reference(opened, prompts) -> np.ndarray:
    """One sequence at a time, no cache, no padding, full logits, float32."""
    scores = []
    for context, ways in zip(prompts.contexts, prompts.continuations, strict=True):
        row = []
        for way in ways:
            ids = torch.as_tensor(np.concatenate([context, way]))
            logits = opened.model(input_ids=ids[None], use_cache=False).logits[0].float()
            logs = torch.log_softmax(logits, dim=-1)
            row.append(
                sum(
                    float(logs[place - 1, ids[place]])
                    for place in range(len(context), len(context) + len(way))
                )
            )
        scores.append(row)
    return np.array(scores)


def scored(opened, prompts, batch_size=3):
    return label_log_likelihoods(opened.model, prompts, opened.tokenizer.pad_token_id, batch_size)


def test_scores_equal_the_plain_reference_for_labels_of_several_tokens(opened) -> None:
    prompts = encoded(opened)
    assert max(len(way) for ways in prompts.continuations for way in ways) > 1
    scores = scored(opened, prompts)
    assert scores.dtype == np.float64
    assert scores.std() > 0.05, "all scores are alike, so the test would say nothing"
    np.testing.assert_allclose(scores, reference(opened, prompts), atol=1e-4)


def test_a_batch_of_n_is_n_batches_of_one(opened) -> None:
    prompts = encoded(opened)
    np.testing.assert_allclose(scored(opened, prompts, 16), scored(opened, prompts, 1), atol=1e-4)


def test_the_pad_token_moves_no_score(opened) -> None:
    prompts = encoded(opened)
    other = label_log_likelihoods(opened.model, prompts, 5, 4)
    np.testing.assert_allclose(other, scored(opened, prompts), atol=1e-4)


def ways_to(prompts):
    """Every label's tokens but its last one after its prompt."""
    for context, ways in zip(prompts.contexts, prompts.continuations, strict=True):
        for way in ways:
            yield np.concatenate([context, way[:-1]]).tolist()


def different(rows):
    """How many tokens there are when none that several rows begin with counts twice."""
    return len({tuple(row[: at + 1]) for row in rows for at in range(len(row))})


@contextmanager
def tokens_read(opened):
    """A list of how many tokens each forward pass reads, padding among them."""
    counts = []
    hook = opened.model.get_input_embeddings().register_forward_hook(
        lambda module, inputs, output: counts.append(inputs[0].numel())
    )
    try:
        yield counts
    finally:
        hook.remove()


def test_no_token_that_prompts_and_labels_begin_with_is_read_twice(opened, monkeypatch) -> None:
    prompts = encoded(opened)
    rows = list(ways_to(prompts))
    for least, passes in ((10**6, 1), (0, 2)):  # without and with a pass for what all begin with
        monkeypatch.setattr(prefix, "LEAST_SAVED", least)
        with tokens_read(opened) as counts:
            scores = scored(opened, prompts, 8)
        assert len(counts) == passes
        assert sum(counts) <= SLACK * different(rows) < sum(map(len, rows)) / 3
        np.testing.assert_allclose(scores, reference(opened, prompts), atol=1e-4)


def test_what_all_begin_with_is_read_once_and_not_in_every_batch(opened, monkeypatch) -> None:
    monkeypatch.setattr(prefix, "LEAST_SAVED", 0)
    prompts = encoded(opened)
    start = common_start(prompts.contexts)
    assert start > 20, "the instruction and the shots"
    with tokens_read(opened) as counts:
        scored(opened, prompts, 1)
    whole = [
        different([row[start:] for row in ways_to(take(prompts, [place]))]) for place in range(len(EXAMPLES))
    ]
    assert len(counts) == 1 + len(EXAMPLES)
    assert start in counts
    assert sum(counts) <= SLACK * (start + sum(whole)) < len(EXAMPLES) * start


def take(prompts, places):
    chosen = {
        name: [getattr(prompts, name)[place] for place in places]
        for name in ("contexts", "continuations", "prompts")
    }
    return type(prompts)(**{**vars(prompts), **chosen})


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("max_length", [256, 60])
def test_pieces_shots_and_cut_texts_change_no_score(opened, shots, max_length, monkeypatch) -> None:
    monkeypatch.setattr(prefix, "LEAST_SAVED", 0)
    try:
        prompts = encode_prompts(
            opened.tokenizer, opened.family, PROMPT, EXAMPLES, SHOTS[:shots], max_length, "end"
        )
    except RecipeError:
        pytest.skip("the prompt does not fit without its text")
    expected = reference(opened, prompts)
    for name, value in (("MOST_TOKENS", 17), ("LEAST_TOKENS", 5), ("PAIRS", 2000)):
        monkeypatch.setattr(prefix, name, value)
    for size in (1, 4):
        with tokens_read(opened) as counts:
            found = scored(opened, prompts, size)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert max(counts) <= 4 * 17


def test_many_labels_of_several_tokens_are_branches_of_one_prompt(opened) -> None:
    draw = np.random.default_rng(0)
    ways = tuple(np.array([50 + at // 2, *draw.integers(20, 200, 2)]) for at in range(20))
    prompts = take(encoded(opened), [1, 2])
    prompts = type(prompts)(**{**vars(prompts), "continuations": [ways] * 2})
    with tokens_read(opened) as counts:
        scores = scored(opened, prompts, 8)
    rows = list(ways_to(prompts))
    assert sum(counts) <= SLACK * different(rows) < sum(map(len, rows)) / 4
    np.testing.assert_allclose(scores, reference(opened, prompts), atol=1e-4)


def test_equal_prompts_are_scored_as_one(opened) -> None:
    prompts = encoded(opened, examples=[EXAMPLES[0]] * 3)
    scores = scored(opened, prompts)
    np.testing.assert_allclose(scores, reference(opened, prompts), atol=1e-4)
    assert (scores == scores[:1]).all()


def test_few_logits_are_there_at_once(opened, monkeypatch) -> None:
    prompts = encoded(opened)
    widest = []
    head = opened.model.get_output_embeddings()
    hook = head.register_forward_hook(lambda module, inputs, output: widest.append(output.shape[:-1].numel()))
    least = label_places(prompts.continuations[0])
    monkeypatch.setattr(choose, "MOST_LOGITS", 1)
    one = scored(opened, prompts, 8)
    hook.remove()
    assert 1 < least <= max(widest) <= SLACK * least
    np.testing.assert_allclose(one, scored(opened, prompts, 8), atol=1e-4)


def test_a_model_whose_positions_follow_from_the_batch_reads_rows_alone() -> None:
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=250, hidden_size=32, n_layer=2, n_head=4)
    model = BloomForCausalLM(config).eval()
    assert not prefix.shares_prefixes(model)
    bloom = SimpleNamespace(model=model, tokenizer=SimpleNamespace(pad_token_id=0))
    draw = np.random.default_rng(0)
    contexts = [draw.integers(5, 250, size) for size in (9, 30, 17)]
    ways = [tuple(draw.integers(5, 250, size) for size in (1, 3, 2)) for _ in contexts]
    prompts = EncodedPrompts(
        contexts, ways, contexts, np.array([12, 33, 20]), np.zeros(3, dtype=bool), {}, False, ""
    )
    np.testing.assert_allclose(scored(bloom, prompts, 2), reference(bloom, prompts), atol=1e-4)


def test_rows_read_alone_have_the_same_scores(opened, monkeypatch) -> None:
    assert prefix.shares_prefixes(opened.model)
    prompts = encoded(opened)
    expected = reference(opened, prompts)
    monkeypatch.setattr(choose, "shares_prefixes", lambda model: False)
    np.testing.assert_allclose(scored(opened, prompts), expected, atol=1e-4)
    single = [tuple(np.array([10 + label]) for label in range(3)) for _ in prompts.continuations]
    prompts = type(prompts)(**{**vars(prompts), "continuations": single})
    with tokens_read(opened) as counts:
        scored(opened, prompts, 1)
    assert len(counts) == len(EXAMPLES), "labels of one token share one forward pass an item"


def test_the_vocabularys_logits_exist_at_the_label_positions_alone(opened, monkeypatch) -> None:
    prompts = encoded(opened)
    positions = []
    head = opened.model.get_output_embeddings()
    hook = head.register_forward_hook(
        lambda module, inputs, output: positions.append(output.shape[:-1].numel())
    )
    scored(opened, prompts)
    hook.remove()
    asked = sum(len(way) for ways in prompts.continuations for way in ways)
    assert 0 < sum(positions) <= asked < sum(len(context) for context in prompts.contexts)


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request, tmp_path_factory):
    return open_model(tiny_model(tmp_path_factory.mktemp("e") / request.param, request.param), "cloze")


@torch.inference_mode()
def test_cloze_scores_equal_the_plain_reference(encoder) -> None:
    cloze = encode_cloze(encoder.tokenizer, encoder.family, PROMPT, EXAMPLES, 64, "end")
    rows = []
    for ids, place in zip(cloze.ids, cloze.mask_N, strict=True):
        logits = encoder.model(input_ids=torch.as_tensor(ids)[None]).logits[0, place].float()
        rows.append(torch.log_softmax(logits, -1)[torch.as_tensor(cloze.word_ids_C)].numpy())
    for batch_size in (1, 3, 8):
        scores = cloze_log_likelihoods(encoder.model, cloze, 0, batch_size)
        np.testing.assert_allclose(scores, np.array(rows), atol=1e-4)
    assert np.array(rows).std() > 0.05


def test_probabilities_sum_to_one_and_survive_tiny_likelihoods() -> None:
    shares = probabilities(np.array([[-2000.0, -2001.0], [0.0, -900.0]]))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares[0], [0.7310585786, 0.2689414214])


def test_calibration_makes_the_content_free_input_even() -> None:
    free = np.log(np.array([[0.9, 0.1], [0.7, 0.3]]))
    mean = content_free(free)
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
    examples = [Example(text, text, 0, text) for text in CONTENT_FREE]
    free = content_free(scored(opened, encoded(opened, examples=examples)))
    assert free.shape == (3,)
    np.testing.assert_allclose(free.sum(), 1)


def test_no_items_give_no_scores(opened) -> None:
    assert len(scored(opened, encoded(opened, examples=[]))) == 0
