"""The lines that load an arm do what they say: they are run, and give the study's probabilities."""

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from tests.arms.small import folder_of, small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.inference.prediction import read_predictions
from tuneproof.record.study_folder import read_items


def blocks_of(study: Path) -> list[str]:
    page = (study / "report.html").read_text("utf-8")
    section = page[page.index('<section id="load">') :]
    section = section[: section.index("</section>")]
    return [unescape(block) for block in re.findall(r"<pre[^>]*>(.*?)</pre>", section, re.S)]


@pytest.mark.parametrize("kind", [pytest.param("bert", marks=pytest.mark.slow), "llama"])
def test_the_lines_of_the_report_give_the_probabilities_of_the_study(tmp_path, kind: str) -> None:
    model = tiny_model(tmp_path / kind, kind)
    arms = [{"full": {"learning_rate": 3e-3, "epochs": 8}}]
    recipe = small_recipe(tmp_path, [model], arms, seeds=[0, 1])
    run_recorded(recipe)
    study = Path(recipe.out)
    python, _, transformers = blocks_of(study)
    seed = int(re.findall(r"seed(\d)", python)[0])
    table = read_predictions(folder_of(recipe, "full", seed) / "predictions.parquet")
    items = read_items(study)
    texts = dict(zip(items.ids, items.texts, strict=True))
    asked = [texts[id_] for id_ in table.ids]
    example = re.findall(r"\[(\".*?\")\]", python)[0]
    said = subprocess.run(
        [sys.executable, "-c", python.replace(example, ", ".join(map(repr, asked)))],
        cwd=study,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    labels = [table.labels[i] for i in table.predicted_N]
    assert said.startswith(repr(labels))
    lines = transformers.replace(example, ", ".join(map(repr, asked))).replace("print(", "found = (")
    values = lines + "\nimport json"
    values += "\nprint(json.dumps([{d['label']: d['score'] for d in one} for one in found]))"
    done = subprocess.run(
        [sys.executable, "-c", values], cwd=study, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    theirs_NC = np.array([[one[label] for label in table.labels] for one in found])
    np.testing.assert_allclose(theirs_NC, table.probabilities_NC, atol=1e-5)


def test_an_arm_that_transformers_cannot_load_alone_shows_no_such_lines(tmp_path) -> None:
    model = tiny_model(tmp_path / "llama", "llama")
    recipe = small_recipe(tmp_path, [model], ["majority", {"lora": {"epochs": 1}}])
    run_recorded(recipe)
    assert all("transformers" not in block for block in blocks_of(Path(recipe.out)))


def test_the_seed_shown_is_the_one_that_dev_likes_best(tmp_path) -> None:
    model = tiny_model(tmp_path / "llama", "llama")
    recipe = small_recipe(tmp_path, [model], [{"full": {"learning_rate": 3e-3}}], seeds=[0, 1, 2])
    run_recorded(recipe)
    losses = {
        seed: json.loads((folder_of(recipe, "full", seed) / "arm.json").read_text("utf-8"))["chosen"][
            "dev_loss"
        ]
        for seed in (0, 1, 2)
    }
    best = min(losses, key=lambda seed: losses[seed])
    assert f"seed{best}" in blocks_of(Path(recipe.out))[0]
