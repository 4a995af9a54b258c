"""What LoRA on all linear layers leaves without an adapter is said by name and number."""

import pytest
import torch
from transformers import AutoModelForCausalLM, GptOssConfig, LlamaConfig, MixtralConfig, Qwen3MoeConfig

from tuneproof.families import family_of
from tuneproof.families.models import ModelSource
from tuneproof.methods.lora import LoraOptions, apply_lora
from tuneproof.models.load import pretrained_on_meta
from tuneproof.parameters.ledger import parameter_ledger
from tuneproof.parameters.left_out import left_out_notes

SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIGS = {
    "mixtral": MixtralConfig(**SIZES, num_local_experts=4),
    "qwen3-moe": Qwen3MoeConfig(**SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32),
    "gpt-oss": GptOssConfig(**SIZES, num_local_experts=4),
}


def ledger_of(config, **options):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        adapted = apply_lora(model, family_of(config), LoraOptions(objective="words", rank=4, **options))
    source = ModelSource("m", "no/where", "main", False)
    return parameter_ledger(adapted, pretrained_on_meta(source, config), family_of(config))


def reasons(ledger) -> list[str]:
    return [line.reason for line in ledger.lines if line.part == "without an adapter"]


@pytest.mark.parametrize("kind", CONFIGS)
def test_experts_that_peft_cannot_adapt_are_named_and_counted(kind) -> None:
    ledger = ledger_of(CONFIGS[kind], dropout=0.1)
    (reason,) = reasons(ledger)
    assert "mlp.experts.gate_up_proj 8,192, mlp.experts.down_proj 4,096" in reason
    assert reason.split()[0] == {"gpt-oss": "13,056"}.get(kind, "12,416")
    assert ledger.base + sum(line.count for line in ledger.lines) == ledger.total
    (note,) = left_out_notes(ledger.as_json()["lines"])
    assert note.startswith("Without an adapter: 1")
    assert note.endswith("beside them.")


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_router_alone_is_named_where_experts_are_adapted(kind) -> None:
    (reason,) = reasons(ledger_of(CONFIGS[kind]))
    assert reason.startswith("128 weights (mlp.")
    assert "experts" not in reason


def test_with_layers_the_upper_blocks_alone_count() -> None:
    (reason,) = reasons(ledger_of(CONFIGS["mixtral"], layers="last 1", dropout=0.1))
    assert "mlp.experts.gate_up_proj 4,096" in reason


def test_a_model_of_linear_layers_leaves_nothing_out() -> None:
    assert reasons(ledger_of(LlamaConfig(**SIZES))) == []


def test_chosen_targets_leave_out_what_was_not_chosen_without_a_line() -> None:
    assert reasons(ledger_of(CONFIGS["mixtral"], targets=("q_proj", "v_proj"))) == []
