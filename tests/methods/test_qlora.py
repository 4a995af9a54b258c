"""QLoRA: the linear layers of the blocks in 4 bits and nothing else, counted by their true shapes."""

import logging
import subprocess
import sys

import pytest
import torch

from tests.arms.small import logits_of, prepare_arm, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.apply.labels import predict
from tuneproof.errors import RunError
from tuneproof.inference.prediction import read_predictions
from tuneproof.memory.estimate import Peak
from tuneproof.memory.simulate_step import DTYPES, _quantization
from tuneproof.memory.tracker import LiveMemory
from tuneproof.methods.qlora import OLDEST, check_qlora
from tuneproof.models.load import model_on_meta, pretrained_on_meta
from tuneproof.models.quantize import (
    Quantization,
    quantization_config,
    quantized_layers,
    set_quantized_precision,
)
from tuneproof.parameters.ledger import parameter_ledger, parameter_sizes
from tuneproof.parameters.quantized import count_weights, estimate_quantized, measure_quantized
from tuneproof.record.study_folder import read_items
from tuneproof.study.study import run

pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
KINDS = ("bert", "distilbert", "llama", "gemma2", "gpt2")


def prepare_with(kind: str, tmp_path, arm: dict):
    folder = tiny_model(tmp_path / kind, kind)
    recipe = small_recipe(tmp_path, [folder], [arm], out=f"study-{next(iter(arm))}")
    return prepare_arm(recipe, recipe.arms[0].name)


def packed_in(model) -> list[str]:
    return [
        name.replace("base_model.model.", "").replace(".base_layer", "")
        for name, module in model.named_modules()
        if getattr(getattr(module, "weight", None), "quant_state", None) is not None
        and not name.endswith((".default",))
        and "lora" not in type(module).__module__
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_linear_layers_of_the_blocks_are_packed_and_nothing_else(kind, tmp_path) -> None:
    prepared = prepare_with(kind, tmp_path, {"qlora": {"rank": 2}})
    meta = model_on_meta(prepared.spec.source, prepared.spec.config, head="labels", labels=("a", "b"))
    wanted = quantized_layers(meta, prepared.spec.family)
    assert packed_in(prepared.model) == wanted
    beside = [name for name, _ in prepared.model.named_parameters() if ".lora_A." in name]
    assert len(beside) == len(wanted)
    assert all("score" not in name and "classifier" not in name for name in wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_true_counts_not_packed_bytes(kind, tmp_path) -> None:
    packed = prepare_with(kind, tmp_path, {"qlora": {"rank": 2}})
    whole = prepare_with(kind, tmp_path, {"lora": {"rank": 2}})
    assert sum(parameter_sizes(packed.model).values()) == sum(parameter_sizes(whole.model).values())
    naive = sum(parameter.numel() for parameter in packed.model.parameters())
    found = measure_quantized(packed.model)
    assert found is not None
    assert sum(parameter_sizes(packed.model).values()) - naive == found.weights / 2
    skeleton = pretrained_on_meta(packed.spec.source, packed.spec.config)
    ledgers = [
        parameter_ledger(prepared.model, skeleton, prepared.spec.family) for prepared in (packed, whole)
    ]
    assert ledgers[0].total == ledgers[1].total
    assert ledgers[0].trainable == ledgers[1].trainable
    assert ledgers[0].lines[:-1] == ledgers[1].lines


def test_the_bytes_that_are_foretold_are_those_that_are_held(tmp_path) -> None:
    prepared = prepare_with("llama", tmp_path, {"qlora": {}})
    states = [p for p in prepared.model.parameters() if getattr(p, "quant_state", None) is not None]
    assert measure_quantized(prepared.model) == estimate_quantized([count_weights(p) for p in states])


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (33, 7), (512, 1024), (1, 1)])
def test_bytes_of_one_matrix(rows, columns) -> None:
    from bitsandbytes.nn import Params4bit

    matrix = torch.randn(rows, columns)
    layer = torch.nn.Module()
    layer.weight = Params4bit(matrix, quant_type="nf4", requires_grad=False).to("cpu")
    assert measure_quantized(layer) == estimate_quantized([rows * columns])


def test_a_model_without_packed_layers_has_no_packing() -> None:
    assert measure_quantized(torch.nn.Linear(3, 4)) is None


def test_asked_for_float32_a_packed_layer_computes_in_float32(tmp_path) -> None:
    """bitsandbytes takes another way, in bf16, where a CPU has it: one and the same in both modes."""
    prepared = prepare_with("llama", tmp_path, {"qlora": {"objective": "words"}})
    weight = prepared.model.base_model.model.model.layers[0].mlp.up_proj.base_layer
    states = torch.randn(3, weight.in_features)
    from bitsandbytes.functional import dequantize_4bit

    exact = states @ dequantize_4bit(weight.weight.data, weight.weight.quant_state).T
    with torch.no_grad():
        torch.testing.assert_close(weight.train()(states), exact, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(weight.eval()(states), exact, atol=1e-5, rtol=1e-5)


def test_packing_moves_the_logits_a_little_and_only_a_little(tmp_path) -> None:
    packed = prepare_with("llama", tmp_path, {"qlora": {"objective": "words"}})
    whole = prepare_with("llama", tmp_path, {"lora": {"objective": "words"}})
    apart = (packed.logits_before - whole.logits_before).abs().mean()
    assert 1e-4 < apart < whole.logits_before.std()
    again = logits_of(packed.model, packed.spec, packed.objective)
    assert torch.equal(again, packed.logits_before)


def test_an_arm_runs_and_labels_new_texts_as_it_labelled_the_test_items(tmp_path) -> None:
    folder = tiny_model(tmp_path / "llama", "llama")
    study = run(small_recipe(tmp_path, [folder], ["majority", {"qlora": {"rank": 2}}]).values())
    arm = study.folder / "arms" / "llama.qlora.seed0"
    before = read_predictions(arm / "predictions.parquet").probabilities_NC
    found = predict(arm, read_items(study.folder, "test").texts).probabilities_NC
    assert before is not None
    assert found == pytest.approx(before, abs=1e-6)


def test_a_device_that_cannot_is_named_before_anything_is_loaded(monkeypatch) -> None:
    import bitsandbytes.functional

    def refuse(*words, **more):
        raise NotImplementedError("The operator is not there.\nMore of it.")

    monkeypatch.setattr(bitsandbytes.functional, "quantize_4bit", refuse)
    with pytest.raises(RunError) as raised:
        quantization_config(None, None, Quantization("cpu"))  # type: ignore[arg-type]
    assert str(raised.value) == (
        "qlora: bitsandbytes cannot quantise weights to 4 bits on cpu: The operator is not there. "
        "Write compute: {device: cpu}, or use lora."
    )


def test_the_oldest_version_is_the_one_that_the_extra_asks_for() -> None:
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    extra = project["project"]["optional-dependencies"]["qlora"]
    assert extra == [f"bitsandbytes>={'.'.join(map(str, OLDEST))}"]
    check_qlora()


def test_nothing_is_fetched_or_said_when_bitsandbytes_is_imported(tmp_path) -> None:
    (tmp_path / "kernels.py").write_text("raise SystemExit('kernels were asked for')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tuneproof.models.quiet import quiet\n"
        "with quiet():\n    import bitsandbytes\n"
        "print('kernels' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
    assert "kernels" not in done.stderr
    assert logging.getLogger("bitsandbytes").level == logging.NOTSET


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_backward_a_layer_is_dequantised_to_the_precision_it_computes_in(precision, tmp_path) -> None:
    """To the same bits as float32 that is rounded, in a third of the memory; the prediction counts it."""
    from bitsandbytes.nn import Linear4bit

    dtype = DTYPES[precision]
    layer = Linear4bit(256, 1024, bias=False, compute_dtype=dtype, quant_type="nf4").to("cpu")
    states = torch.randn(2, 256, dtype=dtype, requires_grad=True)
    peaks, gradients = [], []
    for set_precision in (lambda model: None, set_quantized_precision):
        set_precision(layer)
        loss = layer(states).float().sum()
        live = LiveMemory()
        with live:
            loss.backward()
        peaks.append(live.peak_bytes)
        gradients.append(states.grad)
        states.grad = None
    assert torch.equal(*gradients)
    predicted = _quantization([256 * 1024], dtype.itemsize)(Peak(10**6, 0, 0, 0, 0, 0, 0)).temporary
    beside = 4 * 4 * 1024  # the gradient of the output
    assert peaks[1] <= predicted + beside < 0.5 * peaks[0]
    assert peaks[1] >= 0.9 * predicted


def test_an_arms_quantised_layers_are_dequantised_to_its_precision(tmp_path) -> None:
    prepared = prepare_with("llama", tmp_path, {"qlora": {}})
    states = [p.quant_state for p in prepared.model.parameters() if hasattr(p, "quant_state")]
    assert {state.dtype for state in states} == {torch.float32}, "the study is in fp32"
