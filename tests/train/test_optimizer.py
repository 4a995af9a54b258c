"""What decays, and the numbers of the schedules."""

import pytest
import torch
from torch import nn

from tests.train import tiny
from tuneproof.errors import ModelError, RecipeError
from tuneproof.train.optimizer import decaying_names, make_cycles, make_optimizer, make_schedule


def gemma2():
    from transformers import Gemma2Config, Gemma2ForSequenceClassification

    return Gemma2ForSequenceClassification(
        Gemma2Config(
            vocab_size=60,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
        )
    )


def bert():
    from transformers import BertConfig, BertForQuestionAnswering

    return BertForQuestionAnswering(
        BertConfig(
            vocab_size=60, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
        )
    )


def with_lora(**options):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(tiny.llama_words(), LoraConfig(target_modules="all-linear", **options))


MODELS = {
    "distilbert": tiny.distilbert,
    "bert": bert,
    "llama-head": tiny.llama_head,
    "llama-words": tiny.llama_words,
    "gemma2": gemma2,
    "lora": with_lora,
}


@pytest.mark.parametrize("name", MODELS)
def test_what_decays_is_what_decays_in_the_hugging_face_trainer(name):
    from transformers import Trainer

    model = MODELS[name]()
    theirs = Trainer.get_decay_parameter_names(None, model)
    assert decaying_names(model) == set(theirs)


def test_norms_and_biases_do_not_decay():
    model = tiny.distilbert()
    optimizer = make_optimizer(model, 1e-3, 0.1)
    decay_of = {p: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    decays = {name: decay_of[p] for name, p in model.named_parameters()}
    assert len(decays) == len(list(model.parameters()))
    for name, decay in decays.items():
        assert decay == (0.0 if "norm" in name.lower() or name.endswith("bias") else 0.1), name


def test_a_weight_without_gradient_decays_by_rate_times_decay_and_a_bias_stays():
    model = nn.Linear(3, 2)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    optimizer = make_optimizer(model, 0.1, 0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert model.weight.detach().unique().item() == pytest.approx(1 - 0.1 * 0.5)
    assert model.bias.detach().unique().item() == 1


def test_the_magnitudes_of_dora_do_not_decay():
    model = with_lora(use_dora=True)
    magnitudes = [name for name, _ in model.named_parameters() if "magnitude" in name]
    assert magnitudes
    assert not decaying_names(model) & set(magnitudes)


def test_only_trainable_weights_are_given_to_the_optimizer():
    model = with_lora()
    optimizer = make_optimizer(model, 1e-3, 0.0)
    given = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert given == {id(p) for p in model.parameters() if p.requires_grad}
    assert 0 < len(given) < len(list(model.parameters()))


def test_the_fused_kernel_is_used_and_agrees_with_the_plain_one():
    model, other = tiny.llama_words(), tiny.llama_words()
    fused = make_optimizer(model, 1e-3, 0.1)
    assert fused.defaults["fused"]
    plain = make_optimizer(other, 1e-3, 0.1)
    for group in plain.param_groups:
        group["fused"] = False
    for optimizer, net in ((fused, model), (plain, other)):
        list(tiny.train(net, tiny.make_rows(), tiny.WORDS, optimizer=optimizer))
    assert tiny.largest_difference(tiny.weights_of(model), tiny.weights_of(other)) < 1e-6


def test_nothing_trainable_is_refused():
    model = nn.Linear(1, 1).requires_grad_(False)
    with pytest.raises(ModelError, match="none of the model's weights is trainable"):
        make_optimizer(model, 1e-3, 0.0)


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant"])
@pytest.mark.parametrize(("total", "share"), [(100, 0.06), (7, 0.1), (1, 0.0), (30, 0.0), (10, 0.95)])
def test_schedules_have_the_numbers_of_transformers(kind, total, share):
    from transformers import TrainingArguments, get_scheduler

    warmup = TrainingArguments.get_warmup_steps(_Arguments(share), total)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    name = "constant_with_warmup" if kind == "constant" else kind
    theirs = get_scheduler(name, optimizer, warmup, total)
    ours = make_schedule(kind, total, share)
    for step in range(total + 1):
        assert ours(step) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


class _Arguments:
    def __init__(self, share):
        self.warmup_steps = share


def test_schedules_written_out_by_hand():
    assert [make_schedule("linear", 8, 0.5)(s) for s in (0, 1, 4, 6, 8, 9)] == [0, 0.25, 1, 0.5, 0, 0]
    assert make_schedule("cosine", 8, 0.5)(6) == pytest.approx(0.5)
    assert [make_schedule("constant", 8, 0)(s) for s in (0, 7)] == [1, 1]


def test_each_cycle_warms_up_and_decays_and_a_further_one_changes_no_earlier_step():
    first, factor = make_schedule("linear", 4, 0.25), make_cycles("linear", [4, 2, 6], 0.25)
    assert [factor(step) for step in range(4)] == [first(step) for step in range(4)]
    assert [round(factor(step), 6) for step in range(12)] == [
        *(0, 1, 0.666667, 0.333333),
        *(0, 1),
        *(0, 0.5, 1, 0.75, 0.5, 0.25),
    ]
    longer = make_cycles("linear", [4, 2, 6, 12], 0.25)
    assert [longer(step) for step in range(12)] == [factor(step) for step in range(12)]


def test_an_unknown_schedule_is_refused_with_the_nearest_name():
    with pytest.raises(RecipeError, match="Did you mean linear"):
        make_schedule("linaer", 10, 0.1)
