"""Pages of docs/ whose commands are run as they stand, on a small file and the embedded model."""

import json
import re
import shlex
from pathlib import Path

import pandas
import pytest

from tests.arms.questions import question_models
from tests.arms.small import rows_of
from tuneproof.cli.main import main

PAGE = Path(__file__).parents[1] / "docs" / "leaving-hosted-fine-tuning.md"
SYSTEM = {"role": "system", "content": "Judge the review: positive or negative."}
QUICK = "train: {epochs: 1}\nseeds: [0]\ncompute: {threads: 1}\n"


def commands():
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [shlex.split(line[2:]) for block in blocks for line in block.splitlines()]


def recipe_text():
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return text.replace("smollm2-135m", "demo") + QUICK


def test_the_page_has_commands():
    assert [words[:2] for words in commands()] == [
        ["tuneproof", name] for name in ("check", "run", "check", "run", "run", "predict", "publish", "check")
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open("train.jsonl", "w", encoding="utf-8") as file:
        for text, label in rows_of(("negative", "positive"), 120):
            turns = [SYSTEM, {"role": "user", "content": text}, {"role": "assistant", "content": label}]
            print(json.dumps({"messages": turns}), file=file)
    with open("new.jsonl", "w", encoding="utf-8") as file:
        print(json.dumps({"messages": [SYSTEM, {"role": "user", "content": "A fine film."}]}), file=file)
    with open("replies.jsonl", "w", encoding="utf-8") as file:
        for number in range(60):
            turns = [("user", f"was film {number} good ?"), ("assistant", ("good .", "bad .")[number % 2])]
            print(json.dumps({"messages": [{"role": r, "content": c} for r, c in turns]}), file=file)
    Path("replace.yaml").write_text(recipe_text(), encoding="utf-8")
    return tmp_path


def ask_hosted_model(text):
    return "**Positive.**" if "good" in text else "negative"


def test_every_command_of_the_page_runs(folder, capsys):
    writer = str(question_models(folder, ["llama"])["llama"])
    for words in commands():
        model = writer if "--answers" in words else "demo"
        arguments = [word.replace("smollm2-135m", model) for word in words[1:]]
        if arguments[:2] == ["check", "replace.yaml"]:
            items = pandas.read_parquet("studies/replace/items.parquet")
            with open("hosted.jsonl", "w", encoding="utf-8") as file:
                for item in items[items.part != "train"].itertuples():
                    print(json.dumps({"id": item.id, "output": ask_hosted_model(item.text)}), file=file)
        assert main(arguments) == 0, (arguments, capsys.readouterr().err)
    report = json.loads((folder / "studies/replace/report.json").read_text())
    assert any(arm["arm"] == "hosted" for arm in report["arms"])
    assert (folder / "published" / "README.md").is_file()
    assert pandas.read_csv("labelled.csv")["predicted"].isin(["negative", "positive"]).all()
