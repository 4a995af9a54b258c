"""Layers compiled while an arm trains: the same training, its cost on record, no trace afterwards."""

import json
from pathlib import Path

import pytest

from tests.arms.small import arm_of, die_at, folder_of, prepare_arm, small_recipe, steps_of
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.arms import compile_layers as compiling
from tuneproof.arms.compile_layers import compile_layers
from tuneproof.errors import RunError
from tuneproof.inference.prediction import read_predictions
from tuneproof.models import compile as compiled
from tuneproof.study.plan import check

RATE = {"learning_rate": 3e-3}
FULL = {"full": RATE}
ON = {"compute": {"compile": True}}
CUT = {"batch_size": 6, "micro_batch": 3}  # 8 would be a tiny head's width, and taken for it once
WHOLE = {"batch_size": 6, "micro_batch": None}


def still_model(folder: Path, kind: str) -> Path:
    """A tiny model without dropout: compiled layers draw other masks of the same distribution."""
    file = tiny_model(folder, kind) / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({k: 0.0 if "dropout" in k else v for k, v in config.items()}))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: still_model(root / kind, kind) for kind in ("distilbert", "llama")}


def record_closed_layers(monkeypatch) -> list:
    """The layers that were compiled, once the training closes them."""
    closed: list = []
    close = compiled.CompiledLayers.close

    def record_close(self) -> None:
        closed.extend(self.layers)
        close(self)

    monkeypatch.setattr(compiled.CompiledLayers, "close", record_close)
    return closed


def train_twice(tmp_path, model, arm, **train) -> list:
    """The same arm without and with it."""
    train = {**CUT, **train}
    recipes = [
        small_recipe(tmp_path, [model], [arm], out="plain", train=train),
        small_recipe(tmp_path, [model], [arm], out="compiled", train=train, **ON),
    ]
    for recipe in recipes:
        run_recorded(recipe)
    return recipes


def probabilities_of(recipe, name: str) -> list[float]:
    """The arm's probabilities on test."""
    file = folder_of(recipe, name) / "predictions.parquet"
    return [float(value) for row in read_predictions(file).probabilities_NC for value in row]


def assert_same(recipes, name: str) -> None:
    """The same losses, the same files, and what it cost."""
    losses = [[step["loss"] for step in steps_of(recipe, name)] for recipe in recipes]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert len(losses[0]) >= 10
    files = [sorted(p.name for p in (folder_of(r, name) / "weights").iterdir()) for r in recipes]
    assert files[0] == files[1]
    plain, with_compile = (arm_of(recipe, name) for recipe in recipes)
    assert "compile" not in plain["time_s"]
    seconds = with_compile["time_s"]["compile"]
    assert seconds > 0
    note = f"torch.compile compiled the layers: {seconds:.1f} s of the first steps"
    assert note in " ".join(with_compile["notes"])
    assert with_compile["time_s"]["train"] > 0


def test_compiled_layers_train_to_the_same_losses_and_are_as_before_afterwards(
    tmp_path, models, monkeypatch
) -> None:
    # traced as ever, and run without a C++ compiler's half minute
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    closed = record_closed_layers(monkeypatch)
    assert_same(train_twice(tmp_path, models["distilbert"], FULL), "full")
    assert len(closed) == 2
    assert all(layer._compiled_call_impl is None for layer in closed)


def test_only_layers_that_train_are_compiled(tmp_path, models) -> None:
    arm = {"full": {**RATE, "layers": "last 1"}}
    recipe = small_recipe(tmp_path, [models["distilbert"]], [arm, "lora"], **ON)
    for name, number in (("full", 1), ("lora", 2)):
        prepared = prepare_arm(recipe, name)
        assert len(compile_layers(prepared.context, prepared.model).layers) == number


def test_a_message_says_where_it_has_no_effect(tmp_path, models, monkeypatch) -> None:
    recipe = small_recipe(tmp_path, [models["distilbert"]], [FULL], **ON)
    prepared = prepare_arm(recipe, "full")
    monkeypatch.setattr(compiling, "launched", lambda: True)
    monitor = prepared.context.monitor
    assert not compile_layers(prepared.context, prepared.model).layers
    assert monitor.events == monitor.messages
    (message,) = monitor.messages
    assert "no effect here: under a launcher" in message.text
    assert message.recorded
    assert monitor.notes == [message.text]


def test_without_a_compiler_the_check_says_what_to_do(tmp_path, models) -> None:
    from torch._inductor import config

    recipe = small_recipe(tmp_path, [models["distilbert"]], [FULL], **ON)
    error = r"compute\.compile: is true, but torch reports: No wor"
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(RunError, match=error):
        check(recipe)


def test_what_fails_to_compile_is_named_with_the_way_out() -> None:
    import torch
    from torch._dynamo.exc import BackendCompilerFailed

    layers = compiled.CompiledLayers([torch.nn.Linear(2, 2)])
    with (
        pytest.raises(RunError, match=r"torch\.compile failed: OSError: no Python\.h\. It needs"),
        layers.enabled(),
    ):
        raise BackendCompilerFailed("inductor", OSError("no Python.h"), None)
    assert layers.layers[0]._compiled_call_impl is None


# With the real compiler: a minute each where nothing is cached

REAL = {
    "encoder, full": ("distilbert", FULL, {}),
    "encoder, lora": ("distilbert", {"lora": RATE}, {}),
    "encoder, the last layer": ("distilbert", {"full": {**RATE, "layers": "last 1"}}, {}),
    "encoder, activations recomputed": ("distilbert", FULL, {"gradient_checkpointing": True}),
    "encoder, by the Trainer": ("distilbert", {"full": {**RATE, "engine": "trainer"}}, WHOLE),
    "decoder, words": ("llama", {"full": {**RATE, "objective": "words"}}, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REAL)
def test_compiled_arms_train_as_others_do(tmp_path, models, case) -> None:
    kind, arm, train = REAL[case]
    name = next(iter(arm))
    recipes = train_twice(tmp_path, models[kind], arm, **train)
    assert_same(recipes, name)
    assert probabilities_of(recipes[1], name) == pytest.approx(probabilities_of(recipes[0], name), abs=1e-3)


@pytest.mark.slow
def test_a_killed_compiled_run_resumes_to_the_same_losses(tmp_path, models, monkeypatch) -> None:
    train = {**CUT, "checkpoint_minutes": 0, "evals_per_epoch": 2}
    recipes = [
        small_recipe(tmp_path, [tiny_model(tmp_path / "m", "distilbert")], [FULL], out=out, train=train, **ON)
        for out in ("whole", "killed")
    ]
    run_recorded(recipes[0])
    for at in (2, 7):
        die_at(monkeypatch, at)
        with pytest.raises(KeyboardInterrupt):
            run_recorded(recipes[1])
        monkeypatch.undo()
    run_recorded(recipes[1])
    losses = [[step["loss"] for step in steps_of(recipe, "full")] for recipe in recipes]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    notes = " ".join(arm_of(recipes[1], "full")["notes"])
    assert "resumes after step 7" in notes
    assert "compiling again after each resume included" in notes
