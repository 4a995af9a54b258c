"""A study goes on where it stopped, keeps what is finished, and refuses what does not belong to it."""

import html
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.arms.small import arm_of, folder_of, rows_of, small_recipe, steps_of, write_rows
from tests.monitoring import RecordingMonitor, run_recorded
from tests.tiny_models import tiny_model
from tuneproof.arms import training, tuned
from tuneproof.context.monitor import ArmFinished, ArmStarted, Message, StudyFinished
from tuneproof.errors import RecipeError, RunError
from tuneproof.inference.prediction import read_predictions
from tuneproof.study import arm_session
from tuneproof.study.run import run_study
from tuneproof.study.study import Study, run

ARMS = ["majority", {"lora": {"learning_rate": 5e-3}}, {"full": {"learning_rate": 3e-3}}]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: tiny_model(root / kind, kind) for kind in ("bert", "llama")}


def bytes_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def statuses(events) -> dict[str, str]:
    return {event.label: event.status for event in events if isinstance(event, ArmFinished)}


def probabilities(recipe, name, seed=None):
    return read_predictions(folder_of(recipe, name, seed) / "predictions.parquet").probabilities_NC


def test_a_study_runs_from_python_in_one_call(tmp_path, models) -> None:
    recipe = small_recipe(tmp_path, [models["llama"]], ["majority", "head"])
    study = run(recipe)
    assert study.folder == Path(recipe.out)
    assert study.report.is_file()
    assert study.verdict == study.record.comparisons["verdict"]["sentence"]
    assert {row["arm"] for row in study.scores} == {"majority", "head"}
    assert {"model", "seed", "metric", "value", "low", "high", "n"} <= set(study.scores[0])
    found = study.predictions("head", model="llama")
    assert len(found) == 12
    assert {"id", "gold", "predicted", "p_negative", "p_positive", "tokens"} <= set(found.columns)
    np.testing.assert_allclose(found[["p_negative", "p_positive"]].sum(axis=1), 1)
    right = (found["gold"] == found["predicted"]).mean()
    assert right == pytest.approx(accuracy(study, "head"))
    assert study.steps("head").empty
    with pytest.raises(RunError, match=r"no finished arm 'full'\. Its arms: head, majority"):
        study.predictions("full")


def accuracy(study: Study, arm: str) -> float:
    (value,) = [row["value"] for row in study.scores if (row["arm"], row["metric"]) == (arm, "accuracy")]
    return value


def test_a_frame_keeps_predictions_of_which_none_was_parsed(tmp_path, models) -> None:
    arms = ["majority", {"zero-shot": {"scoring": "generate"}}]
    study = run(small_recipe(tmp_path, [models["llama"]], arms))
    found = study.predictions("zero-shot")
    assert {"gold", "predicted", "text"} <= set(found.columns)
    unparsed = found["predicted"].isna().sum()
    (folder,) = study.folder.glob("arms/*zero-shot*")
    told = read_predictions(folder / "predictions.parquet")
    assert unparsed == (told.predicted_N < 0).sum() > 0


def test_steps_are_a_frame(tmp_path, models) -> None:
    study = run(small_recipe(tmp_path, [models["llama"]], [{"lora": {"learning_rate": 1e-3}}]))
    steps = study.steps("lora")
    assert list(steps["step"]) == list(range(1, len(steps) + 1))
    assert steps["loss"].notna().all()
    assert steps["dev_loss"].notna().sum() == 2


def test_a_notebook_shows_verdict_table_and_charts_of_a_study(tmp_path) -> None:
    study = run(small_recipe(tmp_path, [], ["majority", "lexical"], out="<b>study"))
    shown = study._repr_html_()
    assert shown.startswith('<iframe sandbox=""')
    page = html.unescape(shown[shown.index('srcdoc="') + 8 : shown.rindex('"></iframe>')])
    assert study.verdict.split(":")[0].split(" is ")[0] in page
    assert "<svg" in page
    assert "lexical" in page
    assert "<script" not in page
    assert "&lt;b&gt;study" in page, "a name from outside is text"
    assert '"' not in shown[shown.index('srcdoc="') + 8 : shown.rindex('"></iframe>')]


def test_predict_is_the_function_before_and_after_its_room_is_loaded() -> None:
    code = """
import tuneproof, inspect
assert inspect.isfunction(tuneproof.predict)
import tuneproof.inference.prediction
from tuneproof.inference.prediction import Predictions
assert inspect.isfunction(tuneproof.predict) and tuneproof.predict.__name__ == 'predict'
from tuneproof import predict
assert predict is tuneproof.predict
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_run_takes_values_a_file_or_parts(tmp_path) -> None:
    recipe = small_recipe(tmp_path, [], ["majority", "lexical"], out="a")
    values = {**recipe.values(), "out": str(tmp_path / "b")}
    assert run(values).folder == tmp_path / "b"
    assert run(values, out=str(tmp_path / "c")).folder == tmp_path / "c"
    (tmp_path / "r.yaml").write_text(recipe.text())
    assert run(tmp_path / "r.yaml", out=str(tmp_path / "d")).folder == tmp_path / "d"
    study = run(task=values["task"], arms=["majority"], out=str(tmp_path / "e"))
    assert study.folder == tmp_path / "e"
    with pytest.raises(RecipeError, match="Give one of them"):
        run()
    with pytest.raises(RecipeError, match="both a recipe and a task"):
        run(recipe, arms=["majority"])


def test_finished_arms_are_skipped_and_their_files_are_not_touched(tmp_path, models) -> None:
    recipe = small_recipe(tmp_path, [models["llama"]], ARMS)
    first = run_recorded(recipe).events
    assert set(statuses(first).values()) == {"done"}
    before = bytes_of(Path(recipe.out) / "arms")
    again = run_recorded(recipe).events
    assert set(statuses(again).values()) == {"skipped"}
    assert not [event for event in again if isinstance(event, ArmStarted)]
    assert bytes_of(Path(recipe.out) / "arms") == before
    verdicts = [e.verdict for e in (*first, *again) if isinstance(e, StudyFinished)]
    assert verdicts[0] == verdicts[1]


@pytest.mark.parametrize("at", ["first step", "middle", "writing"])
def test_an_interrupted_study_goes_on_to_the_same_results(tmp_path, models, monkeypatch, at) -> None:
    whole = small_recipe(tmp_path, [models["llama"]], ARMS, out="whole")
    run_recorded(whole)
    recipe = small_recipe(tmp_path, [models["llama"]], ARMS, out="stopped")
    if at == "writing":
        original, calls = arm_session.write_arm, []

        def stop_writing(folder, result, *rest):
            calls.append(1)
            if len(calls) == 2:
                result.save(folder / "weights")
                raise KeyboardInterrupt
            original(folder, result, *rest)

        monkeypatch.setattr(arm_session, "write_arm", stop_writing)
    else:
        line = training._line

        def stop(step, found):
            if step.step == (1 if at == "first step" else 7):
                raise KeyboardInterrupt
            return line(step, found)

        monkeypatch.setattr(training, "_line", stop)
    monitor = RecordingMonitor()
    with pytest.raises(KeyboardInterrupt):
        run_study(recipe, monitor)
    monkeypatch.undo()
    assert statuses(monitor.events) == {"majority": "done"}
    assert not (folder_of(recipe, "lora") / "arm.json").exists()
    done = bytes_of(folder_of(recipe, "majority"))
    assert statuses(run_recorded(recipe).events) == {
        "majority": "skipped",
        "llama lora seed 0": "done",
        "llama full seed 0": "done",
    }
    assert bytes_of(folder_of(recipe, "majority")) == done
    for name in ("majority", "lora", "full"):
        assert np.array_equal(probabilities(recipe, name), probabilities(whole, name))
    for name in ("lora", "full"):
        losses = [[s["loss"] for s in steps_of(r, name)] for r in (recipe, whole)]
        assert losses[0] == losses[1]


def test_changed_settings_in_the_same_folder_are_refused_and_change_nothing(tmp_path, models) -> None:
    recipe = small_recipe(tmp_path, [models["llama"]], ["majority", "lora"])
    run_recorded(recipe)
    before = bytes_of(Path(recipe.out))
    changes = [{"train": {"epochs": 3}}, {"encode": {"max_length": 100}}, {"compute": {"precision": "bf16"}}]
    for change in changes:
        other = small_recipe(tmp_path, [models["llama"]], ["majority", "lora"], **change)
        with pytest.raises(RecipeError, match="finished arm with other settings"):
            run_recorded(other)
        assert bytes_of(Path(recipe.out)) == before, f"{change} left traces"
    arms = ["head", "majority", {"lora": {"rank": 4}}]
    with pytest.raises(RecipeError, match="another name"):
        run_recorded(small_recipe(tmp_path, [models["llama"]], arms))
    assert bytes_of(Path(recipe.out)) == before, "head ran before lora was refused"


def test_other_items_in_the_same_folder_are_refused_and_change_nothing(tmp_path) -> None:
    recipe = small_recipe(tmp_path, [], ["majority", "lexical"])
    run_recorded(recipe)
    before = bytes_of(Path(recipe.out))
    for change in ({"split": {"seed": 1}}, {"split": {"test_size": 8}}):
        with pytest.raises(RecipeError, match="holds a study with different items"):
            run_recorded(small_recipe(tmp_path, [], ["majority", "lexical"], **change))
    rows = rows_of(("negative", "positive"))
    rows[3] = ("Something else was said about it.", "negative")
    write_rows(tmp_path / "rows-2.csv", rows)
    with pytest.raises(RecipeError, match="holds a study with different items"):
        run_recorded(recipe)
    assert bytes_of(Path(recipe.out)) == before


@pytest.mark.parametrize("what", ["weights", "tokenizer"])
def test_another_model_in_the_same_place_is_refused(tmp_path, what) -> None:
    folder = tiny_model(tmp_path / "llama", "llama", seed=1)
    recipe = small_recipe(tmp_path, [folder], ["majority", "head"])
    run_recorded(recipe)
    before = bytes_of(Path(recipe.out))
    if what == "weights":
        tiny_model(folder, "llama", seed=2)
    else:
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config["clean_up_tokenization_spaces"] = True
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(RecipeError, match="finished arm with other settings"):
        run_recorded(recipe)
    assert bytes_of(Path(recipe.out)) == before


def test_a_flipped_label_is_other_data(tmp_path) -> None:
    recipe = small_recipe(tmp_path, [], ["majority", "lexical"])
    run_recorded(recipe)
    rows = rows_of(("negative", "positive"))
    rows[3], rows[40] = (rows[3][0], "positive"), (rows[40][0], "negative")
    write_rows(tmp_path / "rows-2.csv", rows)
    with pytest.raises(RecipeError, match="holds a study with different items"):
        run_recorded(recipe)


def test_more_arms_models_and_seeds_cost_themselves_alone(tmp_path, models) -> None:
    lora = {"lora": {"learning_rate": 5e-3}}
    one = small_recipe(tmp_path, [models["llama"]], ["majority", lora])
    run_recorded(one)
    before = bytes_of(Path(one.out) / "arms")
    more = small_recipe(
        tmp_path, [models["llama"], models["bert"]], ["lexical", "majority", lora, "head"], seeds=[0, 1]
    )
    found = statuses(run_recorded(more).events)
    assert found == {
        "lexical": "done",
        "majority": "skipped",
        "llama lora seed 0": "skipped",
        "llama lora seed 1": "done",
        "bert lora seed 0": "done",
        "bert lora seed 1": "done",
        "llama head": "done",
        "bert head": "done",
    }
    after = bytes_of(Path(one.out) / "arms")
    assert {name: after[name] for name in before} == before
    report = json.loads((Path(more.out) / "report.json").read_text())
    assert len(report["arms"]) == 8


def test_scores_follow_their_settings_without_running_an_arm_again(tmp_path) -> None:
    recipe = small_recipe(tmp_path, [], ["majority", "lexical"])
    run_recorded(recipe)
    before = (folder_of(recipe, "lexical") / "predictions.parquet").stat().st_mtime_ns
    wide = json.loads((folder_of(recipe, "lexical") / "scores.json").read_text())["accuracy"]
    other = small_recipe(tmp_path, [], ["majority", "lexical"], score={"level": 0.6})
    assert set(statuses(run_recorded(other).events).values()) == {"skipped"}
    narrow = json.loads((folder_of(recipe, "lexical") / "scores.json").read_text())["accuracy"]
    assert narrow["value"] == wide["value"]
    assert narrow["high"] - narrow["low"] < wide["high"] - wide["low"]
    report = json.loads((Path(recipe.out) / "report.json").read_text())
    shown = next(arm for arm in report["arms"] if arm["method"] == "lexical")["scores"]["accuracy"]
    assert (shown["low"], shown["high"]) == (narrow["low"], narrow["high"])
    assert (folder_of(recipe, "lexical") / "predictions.parquet").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "error",
    [
        RunError("step 3", "the loss is nan."),
        RuntimeError("no kernel"),
        MemoryError("full"),
        ValueError("a shape"),
        OSError(28, "No space left on device"),
    ],
)
def test_an_arm_that_fails_is_recorded_and_the_others_go_on(tmp_path, models, monkeypatch, error) -> None:
    original = tuned.load_model

    def load(*given, **named):
        if named["head"] == "words":
            raise error
        return original(*given, **named)

    monkeypatch.setattr(tuned, "load_model", load)
    arms = ["majority", {"lora": {"objective": "words"}}, "full"]
    recipe = small_recipe(tmp_path, [models["llama"]], arms)
    monitor = RecordingMonitor()
    with pytest.raises(RunError, match=r"1 of 3 arms failed: llama lora seed 0") as caught:
        run_study(recipe, monitor)
    seen = monitor.events
    assert caught.value.exit_code == 1
    assert statuses(seen) == {"majority": "done", "llama lora seed 0": "failed", "llama full seed 0": "done"}
    assert isinstance(seen[-1], StudyFinished), "the report is made all the same"
    about = arm_of(recipe, "lora")
    assert about["status"] == "failed"
    assert str(error) in about["reason"]
    assert "lora" in (Path(recipe.out) / "report.html").read_text()
    monkeypatch.undo()
    assert statuses(run_recorded(recipe).events) == {
        "majority": "skipped",
        "llama lora seed 0": "done",
        "llama full seed 0": "skipped",
    }
    assert arm_of(recipe, "lora")["status"] == "done"


def test_an_arm_that_one_model_cannot_do_is_listed_with_the_reason(tmp_path, models) -> None:
    arms = ["majority", {"few-shot": {"shots": 2}}, {"lora": {"objective": "words"}}]
    recipe = small_recipe(tmp_path, [models["llama"], models["bert"]], arms)
    events = run_recorded(recipe).events
    assert statuses(events) == {
        "majority": "done",
        "llama few-shot seed 0": "done",
        "bert few-shot": "impossible",
        "llama lora seed 0": "done",
        "bert lora": "impossible",
    }
    about = json.loads((Path(recipe.out) / "arms" / "bert.few-shot" / "arm.json").read_text())
    assert about["status"] == "impossible"
    assert "is an encoder" in about["reason"]
    report = json.loads((Path(recipe.out) / "report.json").read_text())
    assert "is an encoder" in json.dumps(report)
    assert "is an encoder" in (Path(recipe.out) / "report.html").read_text()


@pytest.mark.parametrize(
    ("kind", "arm", "reason"),
    [
        ("bert", {"few-shot": {"shots": 2}}, "takes no examples in a prompt"),
        ("bert", {"zero-shot": {"scoring": "generate"}}, "generates no text"),
        ("bert", {"lora": {"objective": "words"}}, "continues no words"),
        ("bert", {"head": {"pooling": "last"}}, "pool first or mean"),
        ("llama", {"head": {"pooling": "first"}}, "has read nothing"),
    ],
)
def test_an_arm_that_no_model_can_do_stops_before_anything_is_written(
    tmp_path, models, kind, arm, reason
) -> None:
    recipe = small_recipe(tmp_path, [models[kind]], ["majority", arm])
    with pytest.raises(RecipeError, match=reason):
        run_recorded(recipe)
    assert not Path(recipe.out).exists()


def test_a_random_words_head_is_not_called_zero_shot(tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny_model(tmp_path / "bert", "bert")
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("cls.")}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    recipe = small_recipe(tmp_path, [folder], ["majority", "zero-shot"])
    with pytest.raises(RecipeError, match=r"not zero-shot\. Use head, lora or full"):
        run_recorded(recipe)


def test_events_tell_what_happens(tmp_path, models) -> None:
    recipe = small_recipe(tmp_path, [models["llama"]], ["majority", "full"])
    monitor = RecordingMonitor()
    run_study(recipe, monitor, command="a command")
    events = monitor.events
    started = [event for event in events if isinstance(event, ArmStarted)]
    assert [(e.number, e.total, e.label) for e in started] == [
        (1, 2, "majority"),
        (2, 2, "llama full seed 0"),
    ]
    assert any(isinstance(event, Message) and "pad" in event.text for event in events)
    last = events[-1]
    assert isinstance(last, StudyFinished)
    assert Path(last.report).is_file()
    about = json.loads((Path(recipe.out) / "provenance.json").read_text())
    assert about["command"] == "a command"
    assert Study(Path(last.folder)).verdict
