"""LoRA's layer in one operation: peft's outputs and gradients, or peft where the layer is not plain."""

import copy
from contextlib import nullcontext

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import nn

from tuneproof.methods.lora_linear import LoraLinear, _Update, fuse_updates
from tuneproof.throughput.flops import measure_training_cost
from tuneproof.train.gradients import LossSum


class Net(nn.Module):
    """Two layers, the first with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 20), nn.Linear(20, 6, bias=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(states).tanh())


def pair(**changes) -> tuple[nn.Module, nn.Module]:
    """A net adapted by peft, and the same with updates in one operation; B is not zero."""
    torch.manual_seed(0)
    options = {"r": 4, "lora_alpha": 6.0, "target_modules": ["first", "second"]} | changes
    plain = get_peft_model(Net(), LoraConfig(**options))
    for name, parameter in plain.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    fused = copy.deepcopy(plain)
    fuse_updates(fused)
    return plain, fused


def one_operation(output: torch.Tensor) -> bool:
    """Whether the graph ends in the layer's own operation, and the view of its rows."""
    return type(output.grad_fn.next_functions[0][0]).__name__ == "_UpdateBackward"


@pytest.mark.parametrize("shape", [(3, 12), (2, 5, 12)])
@pytest.mark.parametrize("rslora", [False, True])
def test_outputs_and_gradients_are_pefts(shape, rslora) -> None:
    plain, fused = (net.double() for net in pair(use_rslora=rslora))
    inputs = torch.randn(shape, dtype=torch.float64)
    results = []
    for net in (plain, fused):
        states = inputs.clone().requires_grad_()
        output = net(states)
        output.square().sum().backward()
        gradients = [p.grad for p in net.parameters() if p.requires_grad]
        results.append([output, states.grad, *gradients])
        assert all(p.grad is None for p in net.parameters() if not p.requires_grad)
    assert one_operation(output)
    assert len(results[0]) == 2 + 4
    for expected, fused_result in zip(*results, strict=True):
        torch.testing.assert_close(fused_result, expected)


def test_its_gradients_are_those_of_finite_differences() -> None:
    draw = torch.Generator().manual_seed(0)
    x, weight, bias, down, up = (
        torch.randn(*shape, generator=draw, dtype=torch.float64)
        for shape in ((6, 5), (7, 5), (7,), (2, 5), (7, 2))
    )
    trained = [tensor.requires_grad_() for tensor in (x, down, up)]
    update = lambda x, down, up: _Update.apply(x, weight, bias, down, up, 0.7)  # noqa: E731
    assert torch.autograd.gradcheck(update, trained)


@pytest.mark.parametrize(
    "changes", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}], ids=lambda c: next(iter(c))
)
def test_other_layers_are_left_to_peft(changes) -> None:
    plain, fused = pair(**changes)
    inputs = torch.randn(4, 12)
    torch.manual_seed(1)
    expected = plain(inputs)
    torch.manual_seed(1)
    output = fused(inputs)
    assert output.equal(expected)
    assert not one_operation(output)


@pytest.mark.parametrize("state", ["disabled", "merged", "autocast", "two adapters"])
def test_in_other_states_the_layer_is_left_to_peft(state) -> None:
    nets = pair()
    outputs = []
    for net in nets:
        if state == "merged":
            net.merge_adapter()
        if state == "two adapters":
            torch.manual_seed(2)
            net.add_adapter("other", LoraConfig(r=2, target_modules=["first"], init_lora_weights=False))
            net.base_model.set_adapter(["default", "other"])
        autocast = torch.autocast("cpu", torch.bfloat16) if state == "autocast" else nullcontext()
        with net.disable_adapter() if state == "disabled" else nullcontext(), autocast:
            outputs.append(net(torch.ones(4, 12)))
    assert outputs[0].equal(outputs[1])


def test_its_output_may_be_changed_in_place() -> None:
    """As Longformer scales its queries."""
    plain, fused = pair()
    outputs = []
    for net in (plain, fused):
        output = net(torch.ones(4, 12))
        output /= 2.0
        output.sum().backward()
        outputs.append(next(p.grad for p in net.parameters() if p.requires_grad))
    torch.testing.assert_close(*outputs)


def test_without_rows_the_output_has_none() -> None:
    _, fused = pair()
    assert fused(torch.ones(0, 12)).shape == (0, 6)


def test_a_base_that_trains_is_left_to_peft() -> None:
    nets = pair(bias="all")
    gradients = []
    for net in nets:
        net(torch.ones(4, 12)).sum().backward()
        gradients.append([p.grad for p in net.parameters() if p.requires_grad])
    assert len(gradients[0]) == 5
    for expected, fused in zip(*gradients, strict=True):
        torch.testing.assert_close(fused, expected)


def test_it_costs_what_pefts_costs() -> None:
    parts = [{"states": torch.randn(6, 12)}]

    def loss(net: nn.Module, part: dict[str, torch.Tensor]) -> LossSum:
        return LossSum(net(part["states"]).sum(), 6, 6)

    plain, fused = (
        measure_training_cost(net, loss, parts, torch.device("cpu"), nullcontext) for net in pair()
    )
    assert fused == plain
    assert plain.weights_bytes > 0


def test_on_the_meta_device_it_has_a_graph() -> None:
    with torch.device("meta"):
        _, fused = pair()
        output = fused(torch.ones(4, 12))
    assert one_operation(output)


def test_hooks_on_the_adapter_are_called() -> None:
    _, fused = pair()
    calls: list[int] = []
    fused.base_model.model.first.lora_A["default"].register_forward_hook(lambda *_: calls.append(1))
    fused(torch.ones(4, 12))
    assert calls == [1]


def test_it_merges_and_saves_as_pefts() -> None:
    plain, fused = pair()
    assert plain.state_dict().keys() == fused.state_dict().keys()
    layers = [module for module in fused.modules() if isinstance(module, PeftLinear)]
    assert [type(layer) for layer in layers] == [LoraLinear] * 2
    inputs = torch.randn(4, 12)
    adapted = fused(inputs)
    torch.testing.assert_close(fused.merge_and_unload()(inputs), adapted)
