"""A study with a model behind a server: opt-in, announced, resumed, recorded."""

import json
import math
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.arms.questions import question_recipe
from tests.arms.small import rows_of, small_recipe, write_rows
from tests.monitoring import run_recorded, run_until
from tests.server_stub import label_by_opinion, reply_with, running_stub
from tuneproof.arms.system import run_system
from tuneproof.cli.main import main
from tuneproof.context.few_shot import shots_of
from tuneproof.context.monitor import Monitor, Progress
from tuneproof.errors import TuneproofError
from tuneproof.inference.prediction import read_predictions
from tuneproof.study.plan import check

PAGE = Path(__file__).parents[2] / "docs" / "endpoints.md"
PRICES = {"per_hour": 0, "per_million_tokens": {"input": 1000.0, "output": 2000.0}, "currency": "EUR"}


def recipe_of(tmp_path, stub, prices=None, **options):
    endpoint = {"url": stub.url, "model": "stub", "allow": True, **options}
    sections = {"prices": prices} if prices else {}
    return small_recipe(tmp_path, [], ["majority", {"endpoint": endpoint}], **sections)


def replied(recipe, tmp_path):
    """The arm's result, without the study around it."""
    study, arm = check(recipe).study, recipe.arm("endpoint")
    return run_system(study, arm, Monitor(), shots_of(study, arm, 0), tmp_path / "arm")


def arm_folder(tmp_path):
    return tmp_path / "study" / "arms" / "endpoint"


def predictions_of(tmp_path):
    return read_predictions(arm_folder(tmp_path) / "predictions.parquet")


def test_without_permission_nothing_is_sent_and_the_price_is_named(tmp_path):
    with running_stub() as stub:
        recipe = recipe_of(tmp_path, stub, PRICES, allow=False)
        for refuse in (check, run_recorded):
            with pytest.raises(TuneproofError) as error:
                refuse(recipe)
            text = str(error.value)
            assert "24 requests to http://127.0.0.1" in text
            assert "EUR at most" in text
            assert "Set allow: true" in text
        assert stub.bodies == []
    assert not arm_folder(tmp_path).exists()


def test_the_estimate_of_the_price_is_of_the_size_of_the_texts(tmp_path):
    with running_stub() as stub:
        (finding,) = (f for f in check(recipe_of(tmp_path, stub, PRICES)).findings if f.name == "systems")
        replied(recipe_of(tmp_path, stub, PRICES), tmp_path)
    tokens = int(finding.message.partition("about ")[2].partition(" input")[0].replace(",", ""))
    letters = sum(len(body["messages"][0]["content"]) for body in stub.bodies)
    assert letters / 4 <= tokens <= letters / 3
    cost = (tokens * 1000 + 24 * 32 * 2000) / 1e6
    assert f"about {cost:,.2f} EUR at most" in finding.message


def test_every_item_is_requested_once_and_what_happened_is_recorded(tmp_path):
    with running_stub() as stub:
        monitor = run_recorded(recipe_of(tmp_path, stub))
        assert predictions_of(tmp_path).right_N.all()
        assert len(stub.bodies) == len(stub.paid) == 24
        assert "24 requests to" in monitor.text
        assert stub.bodies[0]["messages"][0]["content"].startswith("Choose the label")
    arm = json.loads((arm_folder(tmp_path) / "arm.json").read_text())
    about = arm["chosen"]["endpoint"]
    assert about["models_by_server"] == {"stub": 24}
    assert about["first_request"]["temperature"] == 0.0
    assert about["first_reply"].startswith("20")
    assert arm["time_s"]["predict"] > 0
    usage = json.loads((arm_folder(tmp_path) / "ledger.json").read_text())["usage"]
    assert usage == {"input_tokens": 240, "output_tokens": 48, "requests": 24}


def test_a_stopped_study_resumes_without_paying_twice_and_keeps_its_time(tmp_path):
    with running_stub(slow_s=0.02) as stub:
        run_until(
            recipe_of(tmp_path, stub, concurrency=2), lambda e: isinstance(e, Progress) and len(stub.paid) > 8
        )
        first = [json.loads(line) for line in (arm_folder(tmp_path) / "replies.jsonl").open()]
        assert 8 <= len(first) < 24
        run_recorded(recipe_of(tmp_path, stub, concurrency=5, timeout_s=9, retries=1))
        assert set(stub.paid.values()) == {1}
        assert len(stub.paid) == 24
        count = len(stub.bodies)
        run_recorded(recipe_of(tmp_path, stub, allow=False))  # finished: nothing is left to allow
        assert len(stub.bodies) == count
    arm = json.loads((arm_folder(tmp_path) / "arm.json").read_text())
    assert arm["time_s"]["predict"] > sum(row["seconds"] for row in first)
    assert predictions_of(tmp_path).right_N.all()


def test_a_changed_parameter_is_another_arm(tmp_path):
    with running_stub() as stub:
        run_recorded(recipe_of(tmp_path, stub))
        with pytest.raises(TuneproofError, match="max_tokens"):
            run_recorded(recipe_of(tmp_path, stub, max_tokens=9))


def test_what_a_server_says_of_itself_is_in_the_notes(tmp_path):
    def other_model(body):
        reply = reply_with("positive or negative", model="stub-mini\x1b[31m")
        reply["choices"][0]["finish_reason"] = "length"
        return {name: value for name, value in reply.items() if name != "usage"}

    with running_stub(answer=other_model) as stub:
        run_recorded(recipe_of(tmp_path, stub))
    notes = " ".join(json.loads((arm_folder(tmp_path) / "arm.json").read_text())["notes"])
    assert r"24 replies name another model than stub: stub-mini\x1b[31m." in notes
    assert "24 of 24 replies do not say how many tokens they took." in notes
    assert "24 replies ended at max_tokens." in notes
    assert "12 of 12 test predictions name no label" in notes
    assert "\x1b" not in (tmp_path / "study" / "report.md").read_text()
    assert json.loads((arm_folder(tmp_path) / "ledger.json").read_text())["usage"] == {"requests": 24}


def test_log_probabilities_become_probabilities_of_the_labels(tmp_path):
    def answer(body):
        assert body["top_logprobs"] == 20
        reply = label_by_opinion(body)
        word = reply["choices"][0]["message"]["content"]
        tops = [{"token": word[:3], "logprob": math.log(0.6)}]
        tops.append({"token": "neg" if word == "positive" else "pos", "logprob": math.log(0.2)})
        reply["choices"][0]["logprobs"] = {"content": [{**tops[0], "top_logprobs": tops}]}
        return reply

    with running_stub(answer=answer) as stub:
        predictions = replied(recipe_of(tmp_path, stub, scoring="logprobs"), tmp_path).test
    assert predictions.right_N.all()
    assert predictions.probabilities_NC.max(axis=1) == pytest.approx(0.75)


@pytest.mark.parametrize(
    "options", [{"scoring": "logprobs"}, {"scoring": "likelihood", "protocol": "completions"}]
)
def test_a_server_without_log_probabilities_is_noticed_at_the_first_request(tmp_path, options):
    with running_stub() as stub:
        with pytest.raises(TuneproofError, match="One request was sent"):
            replied(recipe_of(tmp_path, stub, **options), tmp_path)
        assert len(stub.bodies) == 1


@pytest.mark.parametrize("is_obeyed", [True, False])
def test_a_choice_is_read_from_json_and_text_is_parsed_where_the_server_ignores_it(tmp_path, is_obeyed):
    def answer(body):
        enum = body["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"]
        assert enum == ["negative", "positive"]
        word = label_by_opinion(body)["choices"][0]["message"]["content"]
        return reply_with(json.dumps({"label": word}) if is_obeyed else f"{word.title()}!")

    with running_stub(answer=answer) as stub:
        result = replied(recipe_of(tmp_path, stub, scoring="choice"), tmp_path)
    assert result.test.right_N.all()
    notes = " ".join(result.notes)
    assert ("24 replies are none of the choices" in notes) is not is_obeyed


def test_examples_of_train_are_turns(tmp_path):
    with running_stub() as stub:
        replied(recipe_of(tmp_path, stub, shots=2), tmp_path)
    turns = stub.bodies[0]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant", "user"]
    assert {turns[1]["content"], turns[3]["content"]} == {"negative", "positive"}


def test_thoughts_before_an_answer_are_left_out(tmp_path):
    def answer(body):
        word = label_by_opinion(body)["choices"][0]["message"]["content"]
        return reply_with(f"<think>\npositive? negative?\n</think>\n\n{word}")

    with running_stub(answer=answer) as stub:
        assert replied(recipe_of(tmp_path, stub), tmp_path).test.right_N.all()


def test_questions_are_answered_and_an_empty_reply_is_never_no_answer(tmp_path):
    def answer(body):
        text = body["messages"][-1]["content"]
        return reply_with("" if len(text) % 2 else "unanswerable.")

    with running_stub(answer=answer) as stub:
        endpoint = {"url": stub.url, "model": "stub", "allow": True}
        answers = replied(question_recipe(tmp_path, [], ["majority", {"endpoint": endpoint}]), tmp_path).test
        with pytest.raises(TuneproofError, match="Use scoring: text"):
            check(
                question_recipe(tmp_path, [], ["majority", {"endpoint": {**endpoint, "scoring": "choice"}}])
            )
    empty = [body for body in stub.bodies if len(body["messages"][-1]["content"]) % 2]
    assert 0 < len(empty) < len(stub.bodies)
    assert 0 < sum(bool(text) for text in answers.answers) < len(answers)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "localhost:8000"}, "http://"),
        ({"key_env": "sk-proj-abcdefghijklmnop"}, "key_env"),
        ({"body": {"api_key": "x"}}, "secret"),
        ({"body": {"n": 3}}, "cannot be set here"),
        ({"scoring": "likelihood"}, "protocol: completions"),
        ({"scoring": "choice", "protocol": "completions"}, "protocol: chat"),
        ({"scoring": "logits"}, "likelihood"),
        ({"key_env": "NOT_SET_ANYWHERE"}, "not set"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_sent(tmp_path, options, words):
    with running_stub() as stub:
        with pytest.raises(TuneproofError, match=words) as error:
            check(recipe_of(tmp_path, stub, **options))
        assert stub.bodies == []
    assert "abcdefghijklmnop" not in str(error.value)


def test_the_key_is_in_no_file_and_no_output(tmp_path, monkeypatch, capfd):
    key = "zq9-key-of-the-stub"
    monkeypatch.setenv("STUB_ENTRY", key)
    with running_stub(faults=[f"500 {key}"]) as stub:
        recipe = recipe_of(tmp_path, stub, key_env="STUB_ENTRY", concurrency=1)
        (tmp_path / "recipe.yaml").write_text(recipe.text())
        assert main(["run", str(tmp_path / "recipe.yaml")]) == 0
        stub.faults[:] = [f"401 {key}"]
        assert main(["run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "again")]) != 0
        assert stub.headers[-1]["Authorization"] == f"Bearer {key}"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 15
    assert not [path for path in files if key.encode() in path.read_bytes()]
    assert key not in "".join(capfd.readouterr())


def arms_of_the_page():
    blocks = re.findall(r"```yaml\n(endpoint: .*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return [YAML(typ="safe").load(block)["endpoint"] for block in blocks]


@pytest.mark.parametrize("settings", arms_of_the_page(), ids=lambda settings: settings["model"])
def test_each_arm_of_the_page_is_announced_as_the_page_says(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("OPENAI_API_KEY", "zq9-key-of-the-stub")
    recipe = small_recipe(tmp_path, [], ["majority", {"endpoint": settings}])
    with pytest.raises(TuneproofError, match=r"24 requests to http.*Set allow: true"):
        check(recipe)
    (finding,) = (
        finding
        for finding in check(
            small_recipe(tmp_path, [], ["majority", {"endpoint": {**settings, "allow": True}}])
        ).findings
        if finding.name == "systems"
    )
    assert settings["model"] in finding.message


def test_the_recipe_of_the_page_is_refused_then_runs(tmp_path, monkeypatch, capsys):
    small_recipe(tmp_path, [], ["majority"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows-2.csv").rename("tickets.csv")
    text = re.search(r"```yaml\n(task: .*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1]
    with running_stub() as stub:
        text = text.replace("http://localhost:8000/v1", stub.url)
        (tmp_path / "recipe.yaml").write_text(text)
        assert main(["check", "recipe.yaml"]) == 2
        assert "Set allow: true" in capsys.readouterr().err
        (tmp_path / "recipe.yaml").write_text(text.replace("scoring: choice", "allow: true"))
        assert main(["run", "recipe.yaml"]) == 0
        assert len(stub.paid) > 0


@pytest.mark.slow
def test_a_study_that_is_killed_among_one_hundred_faults_pays_only_for_what_was_under_way(tmp_path):
    names = ["429 0", "500", "cut", "gone", "html", "half", "none", "error", "nan"]
    faults = [fault for name in random.Random(22).choices(names, k=100) for fault in ("", name)]
    kills, width = 4, 3
    with running_stub(slow_s=0.02, faults=faults) as stub:
        write_rows(tmp_path / "rows-2.csv", rows_of(("negative", "positive"), 400))
        recipe = recipe_of(tmp_path, stub, key_env="STUB_ENTRY", concurrency=width, retries=20)
        (tmp_path / "recipe.yaml").write_text(recipe.text())
        for number in range(kills + 1):
            process = subprocess.Popen(
                [sys.executable, "-m", "tuneproof", "run", str(tmp_path / "recipe.yaml")],
                env={**os.environ, "STUB_ENTRY": "zq9-key-of-the-stub"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            while number < kills and len(stub.paid) < 30 * (number + 1) and process.poll() is None:
                time.sleep(0.01)
            if number < kills:
                process.kill()
            output = process.communicate()[0].decode()
        assert process.returncode == 0, output
        count = len(stub.paid)
        assert stub.faults == []
        assert stub.paid.total() - count <= kills * width
    predictions = predictions_of(tmp_path)
    assert predictions.right_N.all()
    assert count == len(predictions) + len(read_predictions(arm_folder(tmp_path) / "dev_predictions.parquet"))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"zq9-key" in path.read_bytes()]
