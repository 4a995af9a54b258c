"""Pages of docs/: commands run as they stand, on a small file and the embedded model; scripts are read."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pandas
import pytest
from ruamel.yaml import YAML

from tests.arms.questions import question_models
from tests.arms.small import rows_of
from tuneproof.cli.main import main
from tuneproof.cli.parser import make_parser

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "leaving-hosted-fine-tuning.md"
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


def cluster_scripts():
    """The scripts for Slurm and SkyPilot, as the page on clusters has them."""
    text = (DOCS / "clusters.md").read_text(encoding="utf-8")
    slurm = [block for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) if "#SBATCH" in block]
    (sky,) = (YAML(typ="safe").load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    assert len(slurm) == 2
    return {"torchrun": slurm[0], "ray": slurm[1], "sky": sky["run"]}


@pytest.mark.parametrize("name", ["torchrun", "ray", "sky"])
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_scripts_for_clusters_are_valid_and_so_are_their_commands(name):
    script = cluster_scripts()[name]
    assert name == "sky" or script.startswith("#!/bin/bash\n#SBATCH"), "sbatch refuses a script without"
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    command = re.findall(r"tuneproof (run .*)", script.replace("\\\n", " "))
    args = make_parser().parse_args(shlex.split(command[0]))
    assert (args.source, bool(args.out)) == ("study.yaml", True)
    assert "6380" not in script, "SkyPilot's own Ray listens there"
