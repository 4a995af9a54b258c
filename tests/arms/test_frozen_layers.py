"""Arms whose last layers train: the same from cached states as from the whole model, within a bound."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.arms.questions import question_recipe
from tests.arms.small import arm_of, folder_of, logits_of, prepare_arm, small_recipe, steps_of
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.apply.labels import predict
from tuneproof.context.monitor import Message, StageStarted
from tuneproof.inference.prediction import read_predictions
from tuneproof.models.activation_cache import STATES
from tuneproof.report.page import render

MODELS = ("distilbert", "bert", "llama", "gemma2")
ARMS = {
    "full": {"full": {"layers": "last 1", "learning_rate": 3e-3}},
    "lora": {"lora": {"layers": "last 1", "learning_rate": 5e-3}},
    "lp-ft": {"lp-ft": {"layers": "last 1", "learning_rate": 3e-3}},
    "lora-words": {"lora": {"layers": "last 1", "learning_rate": 5e-3, "objective": "words"}},
}
CASES = [
    pytest.param(model, arm, marks=() if model in ("distilbert", "llama") else pytest.mark.slow)
    for model in MODELS
    for arm in ARMS
    if model in ("llama", "gemma2") or arm != "lora-words"
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: tiny_model(root / kind, kind) for kind in MODELS}


def ledger_of(recipe, name):
    return json.loads((folder_of(recipe, name) / "ledger.json").read_text("utf-8"))


def text_of(events) -> str:
    return " ".join(event.text for event in events if isinstance(event, Message))


def frozen_stages(events) -> list[str]:
    return [e.name for e in events if isinstance(e, StageStarted) and e.name.startswith("frozen layers of")]


@pytest.mark.parametrize(("model", "arm"), CASES)
def test_cached_states_train_what_the_whole_model_trains(tmp_path, models, model, arm) -> None:
    """Dropout is on above the frozen layers, where the model has it."""
    results = {}
    options = {**next(iter(ARMS[arm].values())), "learning_rate": 1e-4}
    for out, disk in (("cached", "1GB"), ("run", "1B")):
        recipe = small_recipe(
            tmp_path, [models[model]], [{next(iter(ARMS[arm])): options}], out=out, compute={"disk": disk}
        )
        run_recorded(recipe)
        name = recipe.arms[0].name
        test = read_predictions(folder_of(recipe, name) / "predictions.parquet")
        losses = [step["loss"] for step in steps_of(recipe, name)]
        results[out] = losses, test.probabilities_NC
        assert ledger_of(recipe, name)["frozen_layers"]["cached"] == (out == "cached")
    losses, probabilities_NC = results["cached"]
    assert len(losses) == 10
    # the same but for rounding, which ten steps and a fitted head multiply
    rounding = 1e-5 if arm == "lp-ft" else 2e-6  # a solver stops within its tolerance
    np.testing.assert_allclose(losses[0], results["run"][0][0], rtol=rounding, atol=1e-6)
    np.testing.assert_allclose(losses, results["run"][0], rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(probabilities_NC, results["run"][1], rtol=0, atol=1e-5)


def test_the_frozen_layers_are_read_once_for_all_seeds_and_arms(tmp_path, models) -> None:
    recipe = small_recipe(tmp_path, [models["bert"]], [ARMS["full"], ARMS["lora"]], seeds=[0, 1], out="both")
    events = run_recorded(recipe).events
    assert frozen_stages(events) == [f"frozen layers of {part}" for part in ("train", "dev")]
    assert len(list((Path(recipe.out) / "cache").glob("states-*"))) == 2
    again = small_recipe(
        tmp_path, [models["bert"]], [ARMS["full"], ARMS["lora"]], seeds=[0, 1, 2], out="both"
    )
    assert frozen_stages(run_recorded(again).events) == []


def test_what_is_damaged_is_read_again(tmp_path, models) -> None:
    first = small_recipe(tmp_path, [models["bert"]], [ARMS["full"]], out="one")
    run_recorded(first)
    for file in (Path(first.out) / "cache").glob(f"states-*/{STATES}"):
        file.write_bytes(b"\0" * file.stat().st_size)
    both = small_recipe(tmp_path, [models["bert"]], [ARMS["full"], ARMS["lora"]], out="one")
    assert len(frozen_stages(run_recorded(both).events)) == 2


def test_disk_is_stated_before_it_is_written_and_bounded(tmp_path, models) -> None:
    recipe = small_recipe(tmp_path, [models["llama"]], [ARMS["full"]])
    events = run_recorded(recipe).events
    message = next(e for e in events if isinstance(e, Message) and "on disk" in e.text)
    first = next(e for e in events if isinstance(e, StageStarted) and e.name == "frozen layers of train")
    assert events.index(message) < events.index(first)
    cache = Path(recipe.out) / "cache"
    entry = ledger_of(recipe, "full")["frozen_layers"]
    assert entry["disk_bytes"] == sum(
        file.stat().st_size for folder in cache.glob("states-*") for file in folder.iterdir()
    )
    states = sum(file.stat().st_size for file in cache.glob(f"states-*/{STATES}"))
    assert states == entry["tokens"] * 32 * 4, "nothing is padded"
    assert f"take {states / 1e6:,.1f} MB on disk" in message.text
    tight = small_recipe(
        tmp_path, [models["llama"]], [ARMS["full"]], out="tight", compute={"disk": f"{states - 1}B"}
    )
    text = text_of(run_recorded(tight).events)
    assert "run in every step, without dropout: their states would take 0.1 MB" in text
    assert not list((Path(tight.out) / "cache").glob("states-*"))
    assert ledger_of(tight, "full")["frozen_layers"]["cached"] is False


def test_a_full_disk_is_no_reason_to_fail(tmp_path, models, monkeypatch) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 10**9))
    recipe = small_recipe(tmp_path, [models["bert"]], [ARMS["full"]])
    assert "and the disk has 1,000.0 MB left" in text_of(run_recorded(recipe).events)
    assert arm_of(recipe, "full")["status"] == "done"


def test_an_architecture_that_reads_more_than_states_runs_whole_and_says_so(
    tmp_path, models, monkeypatch
) -> None:
    monkeypatch.setattr("tuneproof.arms.frozen_layers._is_equal", lambda *_: False)
    recipe = small_recipe(tmp_path, [models["bert"]], [ARMS["full"]])
    assert "upper layers read more than states" in text_of(run_recorded(recipe).events)
    entry = ledger_of(recipe, "full")["frozen_layers"]
    assert (entry["cached"], entry["frozen_layers"], entry["layers"]) == (False, 1, 2)


def test_random_weights_have_other_frozen_layers_for_each_seed(tmp_path, models) -> None:
    arm = {"full": {"layers": "last 1", "weights": "random"}}
    recipe = small_recipe(tmp_path, [models["bert"]], [arm], seeds=[0, 1])
    assert len(frozen_stages(run_recorded(recipe).events)) == 4


@pytest.mark.parametrize("arm", ["full", "lora"])
@pytest.mark.parametrize("model", ["bert", "llama"])
def test_the_saved_model_predicts_what_the_arm_predicted(tmp_path, models, model, arm) -> None:
    recipe = small_recipe(tmp_path, [models[model]], [ARMS[arm]])
    run_recorded(recipe)
    folder = folder_of(recipe, arm)
    before = read_predictions(folder / "predictions.parquet")
    from tuneproof.record.study_folder import read_items

    items = read_items(Path(recipe.out), "test")
    texts = dict(zip(items.ids, items.texts, strict=True))
    again = predict(folder, [texts[id] for id in before.ids])
    np.testing.assert_allclose(again.probabilities_NC, before.probabilities_NC, rtol=0, atol=1e-5)


def test_the_lower_layers_are_saved_as_the_bases(tmp_path, models) -> None:
    from safetensors.torch import load_file

    recipe = small_recipe(tmp_path, [models["bert"]], [ARMS["full"]])
    run_recorded(recipe)
    base = load_file(str(models["bert"] / "model.safetensors"))
    saved = load_file(str(folder_of(recipe, "full") / "weights" / "model.safetensors"))
    below = [n for n in saved if "embeddings" in n or ".layer.0." in n]
    above = [n for n in saved if ".layer.1." in n and n.endswith("weight")]
    assert below
    assert above
    assert all((saved[name] == base[name]).all() for name in below)
    assert not any((saved[name] == base[name]).all() for name in above)


def test_the_report_shows_layers_disk_and_the_time_of_the_frozen_layers(tmp_path, models) -> None:
    recipe = small_recipe(tmp_path, [models["bert"]], ["majority", {"lora": {"layers": "last 1"}}])
    run_recorded(recipe)
    about = arm_of(recipe, "lora")
    assert about["options"]["layers"] == "last 1"
    assert about["time_s"]["frozen layers"] > 0
    text = render(Path(recipe.out)).html.read_text("utf-8")
    assert "last 1" in text
    assert "The embeddings and layer 1 of 2 stay frozen." in text
    assert "MB on disk (compute.disk: at most 20GB)" in text
    assert "Reading the frozen layers took " in text
    values = json.loads((Path(recipe.out) / "report.json").read_text("utf-8"))
    arm = next(entry for entry in values["arms"] if entry["arm"] == "lora")
    assert arm["time_by_stage_s"]["frozen layers"] == about["time_s"]["frozen layers"]


def test_where_all_layers_train_nothing_is_cached_and_no_message_comes(tmp_path, models) -> None:
    recipe = small_recipe(tmp_path, [models["bert"]], ["full"])
    events = run_recorded(recipe).events
    assert "frozen" not in text_of(events)
    assert "frozen_layers" not in ledger_of(recipe, "full")
    assert "frozen layers" not in arm_of(recipe, "full")["time_s"]


@pytest.mark.parametrize("arm", ["full", "lora"])
def test_the_frozen_layers_stay_as_they_were_whatever_the_rate(tmp_path, models, arm) -> None:
    options = next(iter(ARMS[arm].values()))
    recipe = small_recipe(tmp_path, [models["llama"]], [{arm: {**options, "learning_rate": 0.1}}])
    prepared = prepare_arm(recipe, arm)
    lower = prepared.model.get_base_model() if arm == "lora" else prepared.model
    before = [p.detach().clone() for p in lower.model.layers[0].parameters()]
    assert not any(p.requires_grad for p in lower.model.layers[0].parameters())
    assert not lower.model.embed_tokens.weight.requires_grad
    logits_of(prepared.model, prepared.spec, prepared.objective).sum()
    for weight_before, weight in zip(before, lower.model.layers[0].parameters(), strict=True):
        assert (weight_before == weight).all()


@pytest.mark.parametrize(
    ("model", "options"), [("bert", {}), ("distilbert", {}), ("llama", {}), ("llama", {"objective": "words"})]
)
def test_questions_have_frozen_layers_too(tmp_path, models, model, options) -> None:
    arm = {"full": {"layers": "last 1", "learning_rate": 1e-4, **options}}
    losses = []
    for out, disk in (("cached", "1GB"), ("run", "1B")):
        recipe = question_recipe(tmp_path, [models[model]], [arm], out=out, compute={"disk": disk})
        stages = frozen_stages(run_recorded(recipe).events)
        parts = ["train", "dev"] if out == "cached" else []
        assert stages == [f"frozen layers of {part}" for part in parts]
        losses.append([step["loss"] for step in steps_of(recipe, "full")])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-6, atol=1e-6)
