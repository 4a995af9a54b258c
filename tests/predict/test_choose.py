"""Label likelihoods equal a reference that does everything the slow and plain way.

In: tiny models and the small real decoder. Out: nothing. Knows nothing of: the pipeline.
"""

import numpy as np
import pytest
import torch

from tests.open_model import SHARED, open_model
from tests.tiny_models import DECODERS, ENCODERS, tiny_model
from tuneproof.data.encode import encode_cloze, encode_prompts
from tuneproof.predict.choose import (
    CONTENT_FREE,
    calibrate,
    cloze_log_likelihoods,
    content_free,
    label_log_likelihoods,
    probabilities,
)
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


def test_single_token_labels_share_one_forward_pass_an_item(opened, monkeypatch) -> None:
    prompts = encoded(opened)
    single = [tuple(np.array([10 + label]) for label in range(3)) for _ in prompts.continuations]
    prompts = type(prompts)(**{**vars(prompts), "continuations": single})
    rows = []
    forward = opened.model.forward

    def counting(input_ids=None, **rest):
        rows.append(len(input_ids))
        return forward(input_ids=input_ids, **rest)

    counting.__signature__ = __import__("inspect").signature(forward)
    monkeypatch.setattr(opened.model, "forward", counting)
    scores = scored(opened, prompts, 2)
    assert sum(rows) == len(EXAMPLES)
    monkeypatch.undo()
    np.testing.assert_allclose(scores, reference(opened, prompts), atol=1e-4)


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
    return open_model(
        tiny_model(tmp_path_factory.mktemp("e") / request.param, request.param), "cloze"
    )


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
    np.testing.assert_allclose(
        probabilities(calibrate(scores, np.full(3, 1 / 3))), probabilities(scores)
    )


def test_content_free_inputs_can_be_scored(opened) -> None:
    examples = [Example(text, text, 0, text) for text in CONTENT_FREE]
    free = content_free(scored(opened, encoded(opened, examples=examples)))
    assert free.shape == (3,)
    np.testing.assert_allclose(free.sum(), 1)


def test_no_items_give_no_scores(opened) -> None:
    assert len(scored(opened, encoded(opened, examples=[]))) == 0
