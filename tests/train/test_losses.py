"""The losses on real tensors: their values, their gradients, and the memory that they do not take."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

import tuneproof.train.losses as room
from tests.train import tiny
from tuneproof.data.tokens import pad_batch
from tuneproof.memory.tracker import LiveMemory
from tuneproof.models.oom import recompute_activations
from tuneproof.train.losses import answer_loss

VOCABULARY = 128_256
BATCH, LENGTH, ANSWER = 2, 48, 2


def part_of(vocabulary=60, lengths=(12, 9, 12), answers=(3, 1, 2)):
    draw = torch.Generator().manual_seed(0)
    ids = [torch.randint(1, vocabulary, (n,), generator=draw) for n in lengths]
    keep = max(answers) + 1
    places = [row * keep + keep - 1 - size + step for row, size in enumerate(answers) for step in range(size)]
    return {
        **pad_batch(ids, 0, "left"),
        "answers": torch.cat([row[-size:] for row, size in zip(ids, answers, strict=True)]),
        "positions": torch.tensor(places),
        "keep": keep,
        "tokens": sum(lengths),
    }


def full_logits_loss(model, part):
    """What a trainer with -100 labels computes: logits everywhere."""
    batch = {name: part[name] for name in room.INPUTS}
    logits = model(**batch, use_cache=False).logits
    labels = torch.full_like(part["input_ids"], -100)
    keep, width = part["keep"], labels.shape[1]
    for place, answer in zip(part["positions"].tolist(), part["answers"], strict=True):
        labels[place // keep, width - keep + place % keep + 1] = answer
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), reduction="sum"
    )


@pytest.mark.parametrize("pieces", [1, 10**9], ids=["row by row", "at once"])
def test_answers_alone_give_the_loss_and_the_gradients_of_full_logits(pieces, monkeypatch) -> None:
    monkeypatch.setattr(room, "MAX_FLOAT32_LOGITS", pieces)
    monkeypatch.setattr("tuneproof.models.lm_logits.MAX_FLOAT32_LOGITS", pieces)
    ours, plain = tiny.llama_words(), tiny.llama_words()
    part = part_of()
    found = answer_loss(ours, part)
    wanted = full_logits_loss(plain, part)
    assert found.count == 6
    assert float(found.sum.detach()) == pytest.approx(float(wanted.detach()), rel=1e-6)
    (3 * found.sum).backward()
    (3 * wanted).backward()
    for (name, one), other in zip(ours.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_the_gradient_of_half_precision_logits_is_right_where_the_model_is_sure() -> None:
    logits = torch.zeros(1, 100)
    logits[0, 7] = 11.0
    half = logits.bfloat16().requires_grad_()
    room._SummedCrossEntropy.apply(half, torch.tensor([7]), None).backward()
    exact = torch.softmax(logits.double(), -1)
    exact[0, 7] -= 1
    torch.testing.assert_close(half.grad.double(), exact, rtol=5e-3, atol=0)


def lora_on_a_wide_vocabulary():
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    adapted = get_peft_model(
        LlamaForCausalLM(config), LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"])
    )
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    return adapted


def peak_of(model, loss, part):
    """Peak bytes of forward and backward, weights included; the loss; the widest logits."""
    live = LiveMemory(vocabulary=VOCABULARY)
    for parameter in model.parameters():
        live.hold(parameter, "weights")
    with live:
        found = loss(model, part)
        found.backward()
    return live.peak_bytes, float(found.detach()), live.widest_logits


def test_lora_on_a_wide_vocabulary_takes_a_quarter_of_the_memory_of_full_logits() -> None:
    part = part_of(VOCABULARY, (LENGTH,) * BATCH * 4, (ANSWER,) * BATCH * 4)
    ours = peak_of(lora_on_a_wide_vocabulary(), lambda m, p: answer_loss(m, p).sum, part)
    full = peak_of(lora_on_a_wide_vocabulary(), full_logits_loss, part)
    assert ours[1] == pytest.approx(full[1], rel=1e-6)
    assert ours[0] < full[0] / 4
    assert ours[2] <= BATCH * 4 * ANSWER * VOCABULARY
    assert full[2] >= BATCH * 4 * (LENGTH - 1) * VOCABULARY


def test_recomputed_activations_are_not_kept() -> None:
    part = part_of(lengths=(30,) * 8, answers=(1,) * 8)
    peaks = []
    for recompute in (False, True):
        model = tiny.llama_words()
        model.train()
        if recompute:
            recompute_activations(model)
        live = LiveMemory()
        for parameter in model.parameters():
            live.hold(parameter, "weights")
        with live:
            answer_loss(model, part).sum.backward()
        peaks.append(live.peak_bytes)
    assert peaks[1] < 0.75 * peaks[0]
