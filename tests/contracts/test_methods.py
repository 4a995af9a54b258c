"""What every method keeps: what trains, where it starts, that it learns, that it comes back whole.

In: the shelf. Out: nothing. Knows nothing of: scores, reports.
"""

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

import tuneproof.methods
from tests.arms.small import PreparedArm, logits_of, prepare_arm, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.methods import METHODS
from tuneproof.methods.linear_head import HeadData, SpanStates
from tuneproof.methods.method import LabelledTexts, Method
from tuneproof.methods.options import LayersOption, last_layers, trains_words
from tuneproof.models.load import model_on_meta
from tuneproof.train.optimizer import make_optimizer

LOOPS = [name for name, method in METHODS.items() if method.apply is not None]
HEADS = [name for name, method in METHODS.items() if method.fit_head is not None]
SPAN_HEADS = [name for name, method in METHODS.items() if method.fit_span_head is not None]
BASELINES = [name for name, method in METHODS.items() if method.kind == "baseline"]


def variants_of(name: str) -> dict[str, dict]:
    """A method as it is, answering in words, and with the last layer alone, where it has these options."""
    fields = METHODS[name].options.model_fields
    words = {"objective": "words"} if "words" in get_args(fields["objective"].annotation) else {}
    last = {"layers": "last 1"} if issubclass(METHODS[name].options, LayersOption) else {}
    variants = {name: {name: {}}}
    variants |= {f"{name}-words": {name: words}} if words else {}
    variants |= {f"{name}-last": {name: last}} if last else {}
    return variants | ({f"{name}-words-last": {name: words | last}} if words and last else {})


VARIANTS = {
    **{variant: arm for name in LOOPS for variant, arm in variants_of(name).items()},
    "lora-attention": {"lora": {"targets": "attention"}},
    "rslora": {"lora": {"variant": "rslora"}},
    "dora": {"lora": {"variant": "dora"}},
    "pissa": {"lora": {"variant": "pissa", "rank": 4}},
    "pissa-words": {"lora": {"variant": "pissa", "rank": 4, "objective": "words"}},
    "pissa-last": {"lora": {"variant": "pissa", "rank": 4, "layers": "last 1"}},
    "qlora-dora": {"qlora": {"variant": "dora"}},
    "lp-ft-lora": {"lp-ft": {"then": "lora"}},
}
MODELS = ("distilbert", "bert", "llama")
CASES = [
    (model, variant)
    for model in MODELS
    for variant in VARIANTS
    if not (model != "llama" and "words" in variant)
]
CAN_QUANTIZE = importlib.util.find_spec("bitsandbytes") is not None
NEEDS_BITSANDBYTES = pytest.mark.skipif(not CAN_QUANTIZE, reason="bitsandbytes is not installed")


def quantizes(case: tuple[str, str]) -> bool:
    return METHODS[next(iter(VARIANTS[case[1]]))].quantizes


MARKED = [pytest.param(case, marks=[NEEDS_BITSANDBYTES] * quantizes(case)) for case in CASES]
FRESH_PROCESS = """
import sys
from pathlib import Path
import numpy as np, torch
from peft import PeftConfig, PeftModel
from transformers import (
    AutoModelForCausalLM, AutoModelForSequenceClassification, BitsAndBytesConfig
)
from tuneproof.models.matmul_backend import choose_matmul
choose_matmul("cpu", 64)  # as the arm was computed: rounding is not the question here
torch.manual_seed(31337)
for folder in sorted(Path(sys.argv[1]).iterdir()):
    words = "words" in folder.name
    auto = AutoModelForCausalLM if words else AutoModelForSequenceClassification
    torch.rand(7)
    if (folder / "adapter_config.json").is_file():
        base = PeftConfig.from_pretrained(folder).base_model_name_or_path
        extra = {} if words else {"num_labels": 2}
        if (folder / "quantized").is_file():
            extra["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.float32,
                llm_int8_skip_modules=["lm_head", "score", "classifier", "pre_classifier", "bert.pooler"],
            )
        model = PeftModel.from_pretrained(auto.from_pretrained(base, **extra), folder)
    else:
        model = auto.from_pretrained(folder)
    for module in model.modules():  # else some CPUs compute quantised layers in bf16
        module.support_avx512bf16_for_cpu = False
    row = torch.from_numpy(np.load(folder / "row.npy"))[None]
    with torch.no_grad():
        logits = model.eval()(input_ids=row, attention_mask=torch.ones_like(row)).logits
    np.save(folder / "logits.npy", logits[0, -1] if words else logits[0])
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: tiny_model(root / kind, kind) for kind in MODELS}


def prepared_of(case: tuple[str, str], folders: dict[str, Path], folder: Path) -> PreparedArm:
    model, variant = case
    recipe = small_recipe(folder, [folders[model]], [VARIANTS[variant]])
    return prepare_arm(recipe, recipe.arms[0].name)


@pytest.fixture(params=MARKED, ids="-".join)
def prepared(request, folders, tmp_path) -> PreparedArm:
    return prepared_of(request.param, folders, tmp_path)


def train(prepared: PreparedArm, steps: int, learning_rate: float = 5e-3, enough: float = 0.0) -> list[float]:
    """Steps on the same eight rows, without dropout, until the loss is `enough`; the mean losses."""
    part = prepared.objective.collate(np.arange(8))
    optimizer = make_optimizer(prepared.model, learning_rate, 0.0)
    losses = []
    prepared.model.eval()
    for _ in range(steps):
        optimizer.zero_grad()
        summed = prepared.objective.loss(prepared.model, part)
        (summed.sum / summed.count).backward()
        optimizer.step()
        losses.append(float(summed.sum.detach()) / summed.count)
        if losses[-1] < enough:
            break
    return losses


def test_the_shelf_is_not_empty_and_equals_the_folder() -> None:
    defined = set()
    for module in pkgutil.iter_modules(tuneproof.methods.__path__):
        values = vars(importlib.import_module(f"tuneproof.methods.{module.name}")).values()
        defined |= {value.name for value in values if isinstance(value, Method)}
    assert METHODS
    assert set(METHODS) == defined
    assert {next(iter(arm)) for arm in VARIANTS.values()} == set(LOOPS), "a loop has no case here"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_what_its_kind_needs(name) -> None:
    method = METHODS[name]
    assert method.name == name
    assert method.title
    assert method.paper
    assert (method.fit is not None) == (method.kind == "baseline")
    assert (method.answer is not None) == (method.kind == "baseline")
    assert (method.shots is not None) or method.kind != "prompt"
    assert (method.reply is not None) == (method.kind == "system")
    assert (method.fits_head or method.apply is not None) == (method.kind == "tuned")
    for field, about in method.options.model_fields.items():
        assert about.description, f"{name}.{field} says nothing about itself"
    if not any(about.is_required() for about in method.options.model_fields.values()):
        assert method.options().model_dump()


def clouds(classes: int, seed: int, count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    labels_N = np.arange(count) % classes
    centres_CD = np.random.default_rng(99).normal(size=(classes, 6)) * 3
    features_ND = centres_CD[labels_N] + np.random.default_rng(seed).normal(size=(count, 6)) + 1.5
    return features_ND.astype(np.float32), labels_N


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("name", HEADS)
def test_a_fitted_head_separates_classes_that_lie_apart(name, classes, has_bias) -> None:
    fit_head = METHODS[name].fit_head
    assert fit_head is not None
    (train, labels), (dev, dev_labels) = clouds(classes, 0), clouds(classes, 1)
    data = HeadData({"mean": train}, labels, {"mean": dev}, dev_labels, has_bias, classes)
    head = fit_head(METHODS[name].options(), data)
    assert head.pooling == "mean"
    assert head.weight_CD.shape == (classes, train.shape[1])
    assert head.bias_C.shape == (classes,)
    assert has_bias or not head.bias_C.any()
    probabilities_NC = head.probabilities(dev)
    np.testing.assert_allclose(probabilities_NC.sum(axis=1), 1)
    assert (probabilities_NC.argmax(axis=1) == dev_labels).mean() > 0.95
    assert {"dev_loss", "dev_accuracy"} <= set(head.chosen)


@pytest.mark.parametrize("name", HEADS)
def test_dev_chooses_the_pooling(name) -> None:
    fit_head = METHODS[name].fit_head
    assert fit_head is not None
    (good, labels), (good_dev, dev_labels) = clouds(2, 0), clouds(2, 1)
    noise = np.random.default_rng(5).normal(size=good_dev.shape).astype(np.float32)
    for best, other in (("first", "mean"), ("mean", "first")):
        dev = {best: good_dev, other: noise}
        data = HeadData({"first": good, "mean": good}, labels, dev, dev_labels, True, 2)
        assert fit_head(METHODS[name].options(), data).pooling == best


def spans(windows: int, seed: int) -> SpanStates:
    """Windows of eight tokens; direction 0 marks a gold's start, direction 1 its end."""
    random = np.random.default_rng(seed)
    gold_W2 = np.sort(random.integers(0, 8, (windows, 2)), axis=1)
    states = random.normal(0, 0.3, (windows, 8, 6))
    for side in (0, 1):
        states[np.arange(windows), gold_W2[:, side], side] += 2
    return SpanStates(states.reshape(-1, 6).astype(np.float16), np.arange(windows + 1) * 8, gold_W2)


@pytest.mark.parametrize("name", SPAN_HEADS)
def test_a_fitted_span_head_finds_marked_spans(name) -> None:
    fit_span_head = METHODS[name].fit_span_head
    assert fit_span_head is not None
    dev = spans(100, 1)
    head = fit_span_head(METHODS[name].options(), spans(300, 0), dev)
    logits = (dev.states_PD.astype(np.float32) @ head.weight_2D.T).reshape(100, 8, 2)
    assert (logits.argmax(axis=1) == dev.gold_W2).mean() > 0.95
    assert "dev_loss" in head.chosen


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_gives_probabilities_for_every_label(name, classes) -> None:
    fit = METHODS[name].fit
    assert fit is not None
    words = ("fine film", "poor plot", "loud song", "slow cast")
    texts = [f"{words[index % classes]} number {index}" for index in range(40)]
    rows = LabelledTexts(texts, np.arange(40) % classes)
    result = fit(METHODS[name].options(), rows, rows, texts[:7], classes)
    for probabilities, size in ((result.dev_NC, 40), (result.test_NC, 7)):
        assert probabilities.shape == (size, classes)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def names_before(prepared: PreparedArm) -> set[str]:
    """Names of the model's parameters before its method was applied."""
    head = "words" if trains_words(prepared.arm.options) else "labels"
    labels = prepared.plan.splits.labels
    model = model_on_meta(prepared.spec.source, prepared.spec.config, head=head, labels=labels)
    return {name for name, _ in model.named_parameters()}


def declared_by(prepared: PreparedArm, names: Iterable[str]) -> set[str]:
    """The weights that the method says it trains."""
    options = prepared.arm.options
    last_only = last_layers(options) is not None
    if not prepared.arm.method.freezes_base(options):
        return {name for name in names if not last_only or (".0." not in name and "embed" not in name)}
    plain = {name: name.removeprefix("base_model.model.").replace(".base_layer.", ".") for name in names}
    before = names_before(prepared)
    heads = {name for name in names if ".modules_to_save." in name}
    added = {n for n, p in plain.items() if p.replace(".original_module.", ".") not in before}
    expected = [] if trains_words(options) else prepared.spec.family.head_names(prepared.model)
    assert {name.split(".modules_to_save.")[0].split(".")[-1] for name in heads} == set(expected)
    if last_only:
        assert not [name for name in added if ".0." in name.partition(".modules_to_save.")[0]]
    return added | heads


def test_only_declared_weights_train_and_each_of_them_gets_a_gradient(prepared) -> None:
    trainable = {n for n, p in prepared.model.named_parameters() if p.requires_grad}
    everything = dict(prepared.model.named_parameters())
    assert trainable == declared_by(prepared, everything)
    before = {name: p.detach().clone() for name, p in everything.items()}
    train(prepared, 3)  # the second gradient: at the first, LoRA's A has none because B is zero
    for name, parameter in everything.items():
        if name in trainable:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
            assert not torch.equal(parameter, before[name]), name
        else:
            assert torch.equal(parameter, before[name]), f"{name} is frozen and moved"


def test_the_start_equals_the_base(prepared) -> None:
    error = prepared.arm.method.start_error(prepared.arm.options)
    logits = logits_of(prepared.model, prepared.spec, prepared.objective)
    assert prepared.logits_before.std() > 1e-3, "the logits say nothing, so the test would"
    assert 0 <= error <= 1e-4
    if error:
        torch.testing.assert_close(logits, prepared.logits_before, atol=error, rtol=error)
    else:
        assert torch.equal(logits, prepared.logits_before)


def test_eight_rows_can_be_learned_by_heart(prepared) -> None:
    if prepared.arm.options.objective == "head":
        losses = train(prepared, 300, enough=0.1)
        assert losses[-1] < 0.1, losses[::8]
        return
    # A frozen tied word head behind a norm bounds the logits: it is the labels' shares that count.
    weights = sum(p.numel() for p in prepared.model.parameters() if p.requires_grad)
    train(prepared, 80 if weights > 1000 else 320, learning_rate=1e-2)  # few weights learn slowly
    eight = prepared.plan.splits.train[:8]
    predictions = prepared.objective.predict(prepared.model, eight, "eight")
    gold_N = predictions.probabilities_NC[np.arange(8), predictions.gold_N]
    assert -np.log(gold_N).mean() < 0.1, gold_N


def dequantized(prepared: PreparedArm, folder: Path):
    """The trained adapter on its base in float32: merged into 4 bits, the updates would be rounded away."""
    from peft import PeftModel

    prepared.model.save_pretrained(folder)
    again = prepare_arm(prepared.plan.recipe, prepared.arm.name)
    base = again.model.unload()
    return PeftModel.from_pretrained(base.dequantize(torch.float32), folder)


def test_merged_weights_keep_the_logits(prepared, tmp_path) -> None:
    if not (prepared.arm.method.merges and hasattr(prepared.model, "merge_and_unload")):
        pytest.skip("nothing to merge")
    train(prepared, 3)
    before = logits_of(prepared.model, prepared.spec, prepared.objective)
    assert (before - prepared.logits_before).abs().max() > 1e-3
    whole = dequantized(prepared, tmp_path / "adapter") if prepared.arm.method.quantizes else prepared.model
    merged = whole.merge_and_unload()
    assert {name for name, _ in merged.named_parameters()} == names_before(prepared)
    after = logits_of(merged, prepared.spec, prepared.objective)
    torch.testing.assert_close(after, before, atol=2e-4, rtol=2e-4)


def test_saved_and_loaded_in_another_process_with_another_seed_gives_the_same_logits(
    folders, tmp_path
) -> None:
    expected = {}
    for case in CASES:
        if quantizes(case) and not CAN_QUANTIZE:
            continue
        prepared = prepared_of(case, folders, tmp_path)
        train(prepared, 3)
        folder = tmp_path / "saved" / "-".join(case)
        prepared.model.save_pretrained(folder)
        if quantizes(case):
            (folder / "quantized").touch()
        row = prepared.objective.train.ids[0]
        np.save(folder / "row.npy", row)
        batch = torch.from_numpy(row)[None]
        prepared.model.config.use_cache = False
        with torch.no_grad():
            logits = prepared.model(input_ids=batch, attention_mask=torch.ones_like(batch)).logits[0]
        expected[folder] = (logits[-1] if "words" in case[1] else logits).numpy()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FRESH_PROCESS, str(tmp_path / "saved")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for folder, logits in expected.items():
        reloaded = np.load(folder / "logits.npy")
        rough = 2e-4 if "pissa" in folder.name else 1e-5
        np.testing.assert_allclose(reloaded, logits, atol=rough, rtol=rough, err_msg=folder.name)
