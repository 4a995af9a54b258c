"""The main path: what is known before weights load, batches of sorted files, real models."""

import gc
import json
import weakref
from pathlib import Path

import numpy as np
import pytest

from tests.arms.small import small_recipe, write_rows
from tests.monitoring import run_recorded
from tests.open_model import SHARED
from tests.tiny_models import tiny_model
from tuneproof.data.batches import plan_batches
from tuneproof.errors import RecipeError
from tuneproof.recipe.recipe import recipe_from
from tuneproof.study import run
from tuneproof.study.plan import check, plan_study
from tuneproof.study.run import write_report

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the real data are not beside us")


def labels_of_batches(labels, size: int, seed: int, epoch: int) -> list[set]:
    return [set(labels[batch]) for batch in plan_batches(len(labels), size, seed, epoch)]


def test_no_whole_batch_of_a_sorted_file_is_of_one_class() -> None:
    labels = np.repeat([0, 1], 500)
    last = []
    for seed in range(50):
        batches = labels_of_batches(labels, 16, seed, seed % 3)
        assert len(batches) == 63
        assert all(len(batch) == 2 for batch in batches[:-1])
        last.append(len(batches[-1]))
    assert np.mean(np.array(last) == 2) > 0.9, "eight items are of one class once in 128 draws"


@pytest.mark.slow
@needs_shared
def test_no_imdb_batch_is_of_one_class() -> None:
    recipe = recipe_from(
        {
            "task": {"imdb": {"path": str(SHARED / "data" / "imdb")}},
            "arms": ["majority"],
            "split": {"kind": "shares", "shares": [70, 10, 20], "train_size": 4000},
        }
    )
    labels = np.array([example.label for example in check(recipe).splits.train])
    assert len(labels) == 4000
    assert np.bincount(labels).tolist() == [2000, 2000]
    for seed in range(3):
        for epoch in range(3):
            assert all(len(batch) == 2 for batch in labels_of_batches(labels, 16, seed, epoch))


def test_check_writes_nothing_and_loads_no_weights(tmp_path, monkeypatch) -> None:
    from transformers import PreTrainedModel

    def loaded(*given, **named):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", loaded)
    folder = tiny_model(tmp_path / "llama", "llama")
    recipe = small_recipe(tmp_path, [folder], ["majority", "zero-shot", "head", "lora", "full"])
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    plan = check(recipe)
    assert [run.label for run in plan.arms] == [
        "majority",
        "llama zero-shot",
        "llama head",
        "llama lora seed 0",
        "llama full seed 0",
    ]
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_two_models_of_one_name_need_names(tmp_path) -> None:
    models = [tiny_model(tmp_path / name / "same", "llama") for name in ("a", "b")]
    recipe = small_recipe(tmp_path, models, ["head"])
    with pytest.raises(RecipeError, match="two models are called same"):
        check(recipe)
    named = small_recipe(tmp_path, [models[0], {str(models[1]): {"name": "other"}}], ["head"])
    assert [run.label for run in check(named).arms] == ["same head", "other head"]


def test_a_metric_for_two_labels_is_refused_for_three(tmp_path) -> None:
    recipe = small_recipe(
        tmp_path,
        [],
        ["majority", "lexical"],
        ("negative", "positive", "mixed"),
        claim={"arm": "lexical", "over": "majority", "metric": "f1"},
    )
    with pytest.raises(RecipeError, match=r"f1 is for two labels, and there are 3\. Use f1_macro"):
        check(recipe)


def test_a_prompt_that_does_not_fit_is_found_before_weights_load(tmp_path) -> None:
    recipe = small_recipe(tmp_path, [tiny_model(tmp_path / "llama", "llama")], [{"few-shot": {"shots": 30}}])
    with pytest.raises(RecipeError, match="use fewer shots"):
        check(recipe)


def test_every_arm_sees_the_same_items_in_the_same_order(tmp_path) -> None:
    from tuneproof.inference.prediction import read_predictions

    models = [tiny_model(tmp_path / kind, kind) for kind in ("llama", "bert")]
    arms = ["majority", "lexical", "zero-shot", "head", "lora", "full", "lp-ft"]
    recipe = small_recipe(tmp_path, models, arms, train={"epochs": 1})
    run_recorded(recipe)
    for part in ("predictions", "dev_predictions"):
        found = [read_predictions(path) for path in Path(recipe.out).glob(f"arms/*/{part}.parquet")]
        assert len(found) == 12
        assert all(one.ids == found[0].ids and len(one) == 12 for one in found)
        assert all(np.array_equal(one.gold_N, found[0].gold_N) for one in found)


def test_the_report_is_written_when_the_items_are_free_again(tmp_path, monkeypatch) -> None:
    plans, free = [], []

    def remember(*args, **options):
        plan = plan_study(*args, **options)
        plans.extend(
            [weakref.ref(plan.study), weakref.ref(plan.study.splits.train), weakref.ref(plan.models[0])]
        )
        return plan

    def write(*args):
        gc.collect()
        free.extend(plan() is None for plan in plans)
        return write_report(*args)

    monkeypatch.setattr(run, "plan_study", remember)
    monkeypatch.setattr(run, "write_report", write)
    model = tiny_model(tmp_path / "bert", "bert")
    run.run_study(small_recipe(tmp_path, [model], ["majority", "lora"], train={"epochs": 1}))
    assert free == [True, True, True]


def test_the_test_part_chooses_nothing(tmp_path) -> None:
    """Other golds in the test part change no weight, no choice and no prediction of any arm."""
    from tuneproof.inference.prediction import read_predictions

    models = [tiny_model(tmp_path / "llama", "llama")]
    arms = ["lexical", "zero-shot", "head", {"full": {"learning_rate": 3e-3}}, {"few-shot": {"shots": 2}}]
    rows = small_rows()
    results = []
    for name in ("right", "turned"):
        folder = tmp_path / name
        folder.mkdir()
        parts = {"train": rows[0::3], "dev": rows[1::3], "test": rows[2::3]}
        if name == "turned":
            turn = {"negative": "positive", "positive": "negative"}
            parts["test"] = [(text, turn[label]) for text, label in parts["test"]]
        paths = {part: str(write_rows(folder / f"{part}.csv", rows_)) for part, rows_ in parts.items()}
        recipe = small_recipe(
            folder,
            models,
            arms,
            split={"kind": "official", "shares": [80, 20]},
            task={"labels": {"path": paths["train"], "dev": paths["dev"], "test": paths["test"]}},
        )
        run_recorded(recipe)
        results.append(
            {
                path.parent.name: read_predictions(path).probabilities_NC
                for path in Path(recipe.out).glob("arms/*/predictions.parquet")
            }
        )
    assert set(results[0]) == set(results[1])
    assert len(results[0]) == 5
    for arm, probabilities_NC in results[0].items():
        assert np.array_equal(results[1][arm], probabilities_NC), arm


def small_rows() -> list[tuple[str, str]]:
    from tests.arms.small import rows_of

    pairs = zip(*(rows_of((label,), 30) for label in ("negative", "positive")), strict=True)
    return [row for pair in pairs for row in pair]


def accuracy(out: str) -> dict[str, float]:
    report = json.loads((Path(out) / "report.json").read_text())
    return {arm["arm"]: arm["scores"]["accuracy"]["value"] for arm in report["arms"]}


@needs_shared
@pytest.mark.slow
def test_a_real_encoders_head_beats_the_majority(tmp_path) -> None:
    recipe = recipe_from(
        {
            "task": {"sst2": {"path": str(SHARED / "data" / "sst2")}},
            "models": [str(SHARED / "models" / "minilm-l6")],
            "arms": ["majority", "head"],
            "split": {"train_size": 1000, "dev_size": 200, "test_size": 300},
            "encode": {"max_length": 64},
            "compute": {"device": "cpu", "threads": 1},
            "out": str(tmp_path / "study"),
        }
    )
    run_recorded(recipe)
    found = accuracy(recipe.out)
    assert found["head"] > 0.65
    assert found["head"] > found["majority"] + 0.1
    made = json.loads((Path(recipe.out) / "comparisons.json").read_text())
    assert made["verdict"]["outcome"] == "better"


@pytest.mark.slow
@needs_shared
def test_a_real_decoder_runs_every_kind_of_arm_to_a_report(tmp_path) -> None:
    rate = {"learning_rate": 3e-3}
    recipe = recipe_from(
        {
            "task": {"sst2": {"path": str(SHARED / "data" / "sst2")}},
            "models": [str(SHARED / "models" / "stories260k")],
            "arms": [
                "majority",
                "zero-shot",
                {"few-shot": {"shots": 4}},
                "head",
                {"lora": rate},
                {"lora": {"name": "lora-words", "objective": "words", **rate}},
                {"full": rate},
            ],
            "seeds": [0],
            "split": {"train_size": 100, "dev_size": 40, "test_size": 60},
            "train": {"epochs": 1},
            "compute": {"device": "cpu", "threads": 1},
            "out": str(tmp_path / "study"),
        }
    )
    run_recorded(recipe)
    report = json.loads((Path(recipe.out) / "report.json").read_text())
    assert len(report["arms"]) == 7
    assert {arm["scores"]["accuracy"]["n"] for arm in report["arms"]} == {60}
    assert (Path(recipe.out) / "report.html").stat().st_size > 10_000
