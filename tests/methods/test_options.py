"""Every option of a method changes what the method makes of a model; no other option is accepted."""

from typing import Any, get_args

import pytest
import torch
from transformers import LlamaForCausalLM, LlamaForSequenceClassification

from tests.tiny_models import tiny_config, tiny_tokenizer
from tuneproof.errors import ModelError, RecipeError
from tuneproof.families import family_of
from tuneproof.methods import METHODS
from tuneproof.methods.options import EngineOption, TunedOptions, WeightsOption
from tuneproof.recipe.recipe import arm_from

OTHERS: dict[str, Any] = {
    "layers": "last 1",
    "rank": 3,
    "alpha": 5.0,
    "dropout": 0.5,
    "targets": "attention",
    "variant": "rslora",
    "then": "lora",
}
OF_STAGES = {*TunedOptions.model_fields, *EngineOption.model_fields, *WeightsOption.model_fields, "strengths"}
BESIDE = {"lp-ft": {"then": "lora"}}  # without it LoRA's options are refused
LOOPS = ("lp-ft", "lora", "qlora", "full")
CASES = [
    (name, option) for name in LOOPS for option in METHODS[name].options.model_fields if option in OTHERS
]


def applied(name: str, options: dict[str, Any]) -> tuple[Any, ...]:
    """What trains, and how each adapter is set up."""
    method = METHODS[name]
    config = tiny_config("llama", tiny_tokenizer("llama"))
    torch.manual_seed(0)
    words = "words" in get_args(method.options.model_fields["objective"].annotation)
    chosen = method.options(**options, **({"objective": "words"} if words else {}))
    model = (LlamaForCausalLM if words else LlamaForSequenceClassification)(config)
    assert method.apply is not None
    model = method.apply(model, family_of(config), chosen, ())
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters() if p.requires_grad}
    settings = [
        (name, str(getattr(module, "scaling", "")), str(getattr(module, "lora_dropout", "")))
        for name, module in model.named_modules()
        if hasattr(module, "base_layer")
    ]
    return shapes, settings


@pytest.mark.parametrize(("name", "option"), CASES)
def test_an_option_changes_the_model(name, option) -> None:
    beside = {} if option in ("then", "layers") else BESIDE.get(name, {})
    assert applied(name, {**beside, option: OTHERS[option]}) != applied(name, beside)


@pytest.mark.parametrize("name", LOOPS)
def test_every_option_is_tried_here_or_belongs_to_the_stages(name) -> None:
    assert set(METHODS[name].options.model_fields) <= {*OTHERS, *OF_STAGES}


def requires(method) -> bool:
    """Whether it has a setting without a default, whose absence is the first error."""
    return any(field.is_required() for field in method.options.model_fields.values())


@pytest.mark.parametrize(
    "name", [n for n, method in METHODS.items() if method.apply is None and not requires(method)]
)
@pytest.mark.parametrize("option", ["engine=trainer", "layers=last 1", "epochs=2", "learning_rate=0.1"])
def test_what_trains_by_no_steps_has_none_of_their_options(name, option) -> None:
    with pytest.raises(RecipeError, match="is not a setting of"):
        arm_from(name, [f"{name}.{option}"])


def test_options_that_only_loras_half_of_lp_ft_reads_are_refused_without_it() -> None:
    with pytest.raises(RecipeError, match="rank has an effect with then: lora alone"):
        arm_from("lp-ft", ["lp-ft.rank=8"])
    arm = arm_from("lp-ft", ["lp-ft.rank=8", "lp-ft.then=lora"])
    assert METHODS["lp-ft"].options(**arm.options.model_dump()) == arm.options


def test_adapters_stand_beside_the_named_layers_alone() -> None:
    shapes, _ = applied("lora", {"targets": ["q_proj", "up_proj"], "rank": 2})
    assert {name.split(".lora_")[0].split(".")[-1] for name in shapes} == {"q_proj", "up_proj"}
    upper, _ = applied("lora", {"targets": ["q_proj"], "layers": "last 1"})
    assert len(upper) == 2
    assert all(".layers.1." in name for name in upper)


def test_a_name_that_no_layer_has_is_refused() -> None:
    with pytest.raises(ModelError) as raised:
        applied("lora", {"targets": ["q_projj"]})
    assert str(raised.value) == (
        "LlamaForCausalLM: has no linear layer q_projj in its blocks. Allowed in targets: q_proj, k_proj, "
        "v_proj, o_proj, gate_proj, up_proj, down_proj. Did you mean q_proj?"
    )
    with pytest.raises(
        RecipeError, match=r"targets is \[\]; it should be all-linear, attention or a list of layer names\."
    ):
        arm_from("lora", ["lora.targets=[]"])
