"""Long prompts read in pieces, the vocabulary's logits at chosen positions, and what they cost."""

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

import tuneproof.models.lm_logits as room
from tests.open_model import open_model
from tests.tiny_models import DECODERS, tiny_config, tiny_model, tiny_tokenizer
from tuneproof.data.tokens import pad_batch
from tuneproof.memory.tracker import LiveMemory
from tuneproof.models.heads import inner_model
from tuneproof.models.lm_logits import lm_head_logits, new_cache, prefill, token_log_probs

LENGTHS = (61, 40, 17)


@pytest.fixture(scope="module", params=DECODERS)
def opened(request, tmp_path_factory):
    return open_model(tiny_model(tmp_path_factory.mktemp("w") / request.param, request.param), "words")


def batch_of(lengths=LENGTHS, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return pad_batch([torch.randint(6, 170, (n,), generator=draw) for n in lengths], 0, "left")


def small_pieces(patch, most=8, pairs=512):
    patch.setattr(room, "MAX_PIECE_TOKENS", most)
    patch.setattr(room, "MIN_PIECE_TOKENS", 4)
    patch.setattr(room, "MAX_ATTENTION_PAIRS", pairs)


@torch.inference_mode()
def test_reading_in_pieces_changes_no_logit(opened, monkeypatch) -> None:
    batch = batch_of()
    places = torch.tensor([0, 1, 2, 4, 5])
    whole = lm_head_logits(opened.model, batch, 2, places)
    plain = opened.model(**batch).logits[:, -2:].flatten(0, 1)[places]
    torch.testing.assert_close(whole, plain, atol=1e-5, rtol=1e-5)
    small_pieces(monkeypatch)
    rest, cache = prefill(opened.model, batch, 2)
    assert cache is not None
    assert 2 <= rest["input_ids"].shape[1] <= 8
    pieces = lm_head_logits(opened.model, rest, 2, places, cache)
    torch.testing.assert_close(pieces, plain, atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_layers_with_a_window_keep_its_keys_alone(opened, monkeypatch) -> None:
    small_pieces(monkeypatch)
    _, cache = prefill(opened.model, batch_of(), 2)
    kept = {layer.keys.shape[-2] for layer in cache.layers}
    window = getattr(opened.config, "sliding_window", None)
    kinds = set(getattr(opened.config, "layer_types", None) or ())
    if window is None:
        assert kept == {56}
    elif "full_attention" in kinds:
        assert kept == {window - 1, 56}
    else:
        assert kept == {window - 1}


@torch.inference_mode()
def test_short_batches_are_read_at_once_without_a_cache(opened) -> None:
    batch = batch_of()
    rest, cache = prefill(opened.model, batch, 1)
    assert cache is None
    assert rest is batch


def deep_model(kind):
    """Eight layers, so that what one layer needs at a time is little beside the cache of all."""
    values = tiny_config(kind, tiny_tokenizer(kind)).to_dict()
    values |= {"num_hidden_layers": 8, "layer_types": None}
    return AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**values)).eval()


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_the_peak_grows_with_the_length_as_keys_and_values_do(kind, monkeypatch) -> None:
    model = deep_model(kind)
    small_pieces(monkeypatch, most=32, pairs=32 * 64)

    def peak(length: int) -> LiveMemory:
        batch = batch_of([length] * 4)
        live = LiveMemory()
        for tensor in (*model.parameters(), *batch.values()):
            live.hold(tensor, "weights")
        with torch.inference_mode(), live:
            cache = counted(live, new_cache(model))
            rest, cache = prefill(model, batch, 1, cache)
            lm_head_logits(model, rest, 1, torch.arange(4), cache)
        return live

    short, long = peak(64), peak(240)
    of_the_cache = long.peak["cache"] - short.peak["cache"]
    assert of_the_cache > 0
    assert long.peak["temporary"] - short.peak["temporary"] < 0.3 * of_the_cache
    monkeypatch.undo()
    live = LiveMemory()
    with torch.inference_mode(), live:
        lm_head_logits(model, batch_of([240] * 4), 1, torch.arange(4))
    assert live.peak["temporary"] > 3 * long.peak["temporary"]


def counted(live, cache):
    plain = cache.update

    def update(*given, **named):
        with live.part("cache"):
            return plain(*given, **named)

    cache.update = update
    return cache


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_likelihoods_need_no_second_tensor_of_the_vocabularys_width(dtype, monkeypatch) -> None:
    monkeypatch.setattr(room, "MAX_FLOAT32_LOGITS", 4 * 1000)
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 1000, generator=draw).to(dtype)
    rows, tokens = torch.tensor([0, 63, 5, 5]), torch.tensor([1, 999, 7, 8])
    with LiveMemory(vocabulary=1000) as live:
        found = token_log_probs(logits, rows, tokens)
    torch.testing.assert_close(found, torch.log_softmax(logits.float(), -1)[rows, tokens])
    assert live.peak_bytes <= logits.nbytes + 4 * 4 * 1000 * 4


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_the_gradient_of_few_rows_over_a_large_vocabulary_is_that_of_many(rows: int) -> None:
    """A product of fewer than four rows rounded 15 times as much on processors without AVX-512."""
    config = CONFIG_MAPPING["llama"](
        vocab_size=262_144,
        hidden_size=64,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.requires_grad_(False)
    norm = model.model.norm.weight.requires_grad_(True)
    batch = pad_batch([[5, 6, 7], [8, 9, 10], [11, 12, 13]][:rows], 0, "left")
    positions = torch.arange(rows) * 2

    def gradient(dtype: torch.dtype) -> torch.Tensor:
        norm.grad = None
        logits = lm_head_logits(model.to(dtype), batch, 2, positions)
        assert logits.shape == (rows, 262_144)
        torch.nn.functional.cross_entropy(logits * 3, torch.full((rows,), 5)).backward()
        assert norm.grad is not None
        return norm.grad.double()

    exact = gradient(torch.float64)
    assert float((gradient(torch.float32) - exact).norm() / exact.norm()) < 5e-6


@pytest.mark.parametrize(("mkl", "width"), [(True, 16), (False, 8)])
def test_a_number_of_rows_that_mkl_multiplies_slowly_is_padded(opened, monkeypatch, mkl, width) -> None:
    monkeypatch.setattr(room, "uses_mkl", lambda: mkl)
    widths = []
    head = inner_model(opened.model).get_output_embeddings()
    hook = head.register_forward_hook(lambda module, inputs, logits: widths.append(logits.shape[1]))
    logits = lm_head_logits(opened.model, batch_of((5, 4) * 4), 1, torch.arange(8))
    hook.remove()
    assert widths == [width]
    assert len(logits) == 8


def test_rows_that_need_no_gradient_are_not_padded(opened) -> None:
    widths = []
    head = inner_model(opened.model).get_output_embeddings()
    hook = head.register_forward_hook(lambda module, inputs, logits: widths.append(logits.shape[1]))
    batch = batch_of((5,))
    with torch.inference_mode():
        lm_head_logits(opened.model, batch, 1, torch.tensor([0]))
    lm_head_logits(opened.model, batch, 1, torch.tensor([0]))
    hook.remove()
    assert widths == [1, room.MIN_ROWS]
