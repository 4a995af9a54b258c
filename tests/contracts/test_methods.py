"""What every method keeps: what trains, where it starts, that it learns, that it comes back whole.

In: the shelf. Out: nothing. Knows nothing of: scores, reports.
"""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.arms.small import Begun, begin, drain, logits_of, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.methods import METHODS
from tuneproof.train.optimizer import make_optimizer

SHELF = Path(__file__).parents[2] / "src" / "tuneproof" / "methods"
LOOPS = [name for name, method in METHODS.items() if method.apply is not None]
VARIANTS = {
    "full": {"full": {}},
    "full-words": {"full": {"objective": "words"}},
    "lora": {"lora": {}},
    "lora-words": {"lora": {"objective": "words"}},
    "lora-attention": {"lora": {"targets": "attention"}},
    "rslora": {"lora": {"variant": "rslora"}},
    "dora": {"lora": {"variant": "dora"}},
    "pissa": {"lora": {"variant": "pissa", "rank": 4}},
    "pissa-words": {"lora": {"variant": "pissa", "rank": 4, "objective": "words"}},
    "qlora": {"qlora": {}},
    "qlora-words": {"qlora": {"objective": "words"}},
    "qlora-dora": {"qlora": {"variant": "dora"}},
    "lp-ft": {"lp-ft": {}},
    "lp-ft-lora": {"lp-ft": {"then": "lora"}},
    "full-last": {"full": {"layers": "last 1"}},
    "full-words-last": {"full": {"objective": "words", "layers": "last 1"}},
    "lora-last": {"lora": {"layers": "last 1"}},
    "lora-words-last": {"lora": {"objective": "words", "layers": "last 1"}},
    "pissa-last": {"lora": {"variant": "pissa", "rank": 4, "layers": "last 1"}},
    "qlora-last": {"qlora": {"layers": "last 1"}},
    "lp-ft-last": {"lp-ft": {"layers": "last 1"}},
}
MODELS = ("distilbert", "bert", "llama")
CASES = [
    (model, variant)
    for model in MODELS
    for variant in VARIANTS
    if not (model != "llama" and "words" in variant)
]
PACKS = importlib.util.find_spec("bitsandbytes") is not None
NEEDS_PACKING = pytest.mark.skipif(not PACKS, reason="bitsandbytes is not installed")
MARKED = [pytest.param(c, marks=[NEEDS_PACKING] * c[1].startswith("qlora")) for c in CASES]
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
        if "qlora" in folder.name:
            extra["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.float32,
                llm_int8_skip_modules=["lm_head", "score", "classifier", "pre_classifier", "bert.pooler"],
            )
        model = PeftModel.from_pretrained(auto.from_pretrained(base, **extra), folder)
    else:
        model = auto.from_pretrained(folder)
    for module in model.modules():  # else some CPUs compute packed layers in bf16, whatever is asked
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


def begun_of(case: tuple[str, str], folders: dict[str, Path], folder: Path) -> Begun:
    model, variant = case
    recipe = small_recipe(folder, [folders[model]], [VARIANTS[variant]])
    return begin(recipe, recipe.arms[0].name)


@pytest.fixture(params=MARKED, ids="-".join)
def begun(request, folders, tmp_path) -> Begun:
    return begun_of(request.param, folders, tmp_path)


def train(begun: Begun, steps: int, learning_rate: float = 5e-3, enough: float = 0.0) -> list[float]:
    """Steps on the same eight rows, without dropout, until the loss is `enough`; the mean losses."""
    part = begun.objective.collate(np.arange(8))
    optimizer = make_optimizer(begun.model, learning_rate, 0.0)
    losses = []
    begun.model.eval()
    for _ in range(steps):
        optimizer.zero_grad()
        summed = begun.objective.loss(begun.model, part)
        (summed.sum / summed.count).backward()
        optimizer.step()
        losses.append(float(summed.sum.detach()) / summed.count)
        if losses[-1] < enough:
            break
    return losses


def test_the_shelf_is_not_empty_and_holds_what_its_folder_defines() -> None:
    defined = set()
    for file in SHELF.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Method":
                keywords = {word.arg: word.value for word in node.keywords}
                defined.add(ast.literal_eval(keywords["name"]))
    assert METHODS
    assert set(METHODS) == defined
    assert {next(iter(arm)) for arm in VARIANTS.values()} == set(LOOPS), "a loop has no case here"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_its_kind_needs(name) -> None:
    method = METHODS[name]
    assert method.name == name
    assert method.title
    assert method.paper
    assert (method.fit is not None) == (method.kind == "baseline")
    assert (method.answer is not None) == (method.kind == "baseline")
    assert (method.shots is not None) == (method.kind == "prompt")
    assert method.kind != "tuned" or method.probe or method.apply is not None
    for field, about in method.options.model_fields.items():
        assert about.description, f"{name}.{field} says nothing about itself"
    assert method.options().model_dump()


def test_only_declared_weights_train_and_each_of_them_gets_a_gradient(begun) -> None:
    trainable = {n for n, p in begun.model.named_parameters() if p.requires_grad}
    everything = dict(begun.model.named_parameters())
    head = begun.ready.family.head_names(begun.model)
    if not {"lora", "qlora"}.isdisjoint({begun.arm.method_name, getattr(begun.arm.options, "then", "")}):
        heads = {name for name in everything if ".modules_to_save." in name}
        declared = {name for name in everything if "lora_" in name} | heads
        words = begun.arm.options.objective == "words"
        assert {n.split(".modules_to_save.")[0].split(".")[-1] for n in heads} == (
            set() if words else set(head)
        )
        if begun.arm.options.layers != "all":
            assert not [name for name in declared if ".0." in name.partition(".modules_to_save.")[0]]
    elif begun.arm.options.layers == "all":
        declared = set(everything)
    else:  # two layers: the second one and what follows it
        declared = {n for n in everything if ".0." not in n and "embed" not in n}
    assert trainable == declared
    before = {name: p.detach().clone() for name, p in everything.items()}
    train(begun, 3)  # the second gradient: at the first, A's is zero because B is
    for name, parameter in everything.items():
        if name in trainable:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
            assert not torch.equal(parameter, before[name]), name
        else:
            assert torch.equal(parameter, before[name]), f"{name} is frozen and moved"


def test_the_start_equals_the_base(begun) -> None:
    rough = getattr(begun.arm.options, "variant", "") in ("pissa", "dora")
    found = logits_of(begun.model, begun.ready, begun.objective)
    assert begun.before.std() > 1e-3, "the logits say nothing, so the test would"
    if rough:  # PiSSA takes the base apart and adds it up again; DoRA divides by a norm
        torch.testing.assert_close(found, begun.before, atol=1e-4, rtol=1e-4)
    else:
        assert torch.equal(found, begun.before)


def test_eight_rows_can_be_learned_by_heart(begun) -> None:
    if begun.arm.options.objective == "head":
        losses = train(begun, 300, enough=0.1)
        assert losses[-1] < 0.1, losses[::8]
        return
    # A frozen tied word head behind a norm bounds the logits: it is the labels' shares that count.
    train(begun, 80, learning_rate=1e-2)
    eight = begun.plan.splits.train[:8]
    found = drain(begun.objective.ask(begun.model, eight, "eight"))
    gold_N = found.probabilities_NC[np.arange(8), found.gold_N]
    assert -np.log(gold_N).mean() < 0.1, gold_N


def unpacked(begun: Begun, folder: Path):
    """The trained adapter on its base with the packed layers unpacked: merged into 4 bits, the
    updates would be rounded away."""
    from peft import PeftModel

    begun.model.save_pretrained(folder)
    again = begin(begun.plan.recipe, begun.arm.name)
    base = again.model.unload()
    return PeftModel.from_pretrained(base.dequantize(torch.float32), folder)


def test_merged_weights_keep_the_logits(begun, tmp_path) -> None:
    if not hasattr(begun.model, "merge_and_unload"):
        pytest.skip("nothing to merge")
    train(begun, 3)
    before = logits_of(begun.model, begun.ready, begun.objective)
    assert (before - begun.before).abs().max() > 1e-3
    whole = unpacked(begun, tmp_path / "adapter") if begun.arm.method.packs else begun.model
    merged = whole.merge_and_unload()
    assert not any("lora" in name for name, _ in merged.named_parameters())
    after = logits_of(merged, begun.ready, begun.objective)
    torch.testing.assert_close(after, before, atol=2e-4, rtol=2e-4)


def test_saved_and_loaded_in_another_process_with_another_seed_gives_the_same_logits(
    folders, tmp_path
) -> None:
    wanted = {}
    for case in CASES:
        if case[1].startswith("qlora") and not PACKS:
            continue
        begun = begun_of(case, folders, tmp_path)
        train(begun, 3)
        folder = tmp_path / "saved" / "-".join(case)
        begun.model.save_pretrained(folder)
        row = begun.objective.train.ids[0]
        np.save(folder / "row.npy", row)
        batch = torch.from_numpy(row)[None]
        begun.model.config.use_cache = False
        with torch.no_grad():
            logits = begun.model(input_ids=batch, attention_mask=torch.ones_like(batch)).logits[0]
        wanted[folder] = (logits[-1] if "words" in case[1] else logits).numpy()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FRESH_PROCESS, str(tmp_path / "saved")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for folder, logits in wanted.items():
        found = np.load(folder / "logits.npy")
        rough = 2e-4 if "pissa" in folder.name else 1e-5
        np.testing.assert_allclose(found, logits, atol=rough, rtol=rough, err_msg=folder.name)
