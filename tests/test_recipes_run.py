"""Every recipe from its first line to its report, on real data and models that fit a laptop's core.

What a recipe says is kept but for sizes: its arms, claims, splits, prompts and settings run as they stand.
"""

import json
from pathlib import Path

import pytest
from pyarrow import compute, parquet

from tests.open_model import SHARED
from tests.test_recipes import RECIPES
from tests.tiny_models import tiny_model
from tuneproof.cli.main import main
from tuneproof.families.models import MODELS
from tuneproof.families.published import PublishedConfig
from tuneproof.recipe.recipe import read_recipe

DATA = SHARED / "data"
MINILM = SHARED / "models" / "minilm-l6"
READ_FROM = {
    "sst2": [f"task.path={DATA / 'sst2'}"],
    "imdb": [f"task.path={DATA / 'imdb'}"],
    "squad_v2": [
        f"task.squad_v2.train={DATA / 'squad_v2' / 'train-subset-v2.parquet'}",
        f"task.squad_v2.test={DATA / 'squad_v2' / 'dev-v2.0.json.gz'}",
    ],
}
CUTS = [
    "split.train_size=48",
    "split.dev_size=24",
    "split.test_size=32",
    "train.epochs=1",
    "compute.device=cpu",
    "compute.threads=1",
]

FEW = ["split.train_size=16", "split.dev_size=8", "split.test_size=8"]
SHORT = 300  # characters of reviews; the recipe of DistilBERT alone reads all of IMDB
MORE = {  # a tiny vocabulary spells a word in many tokens: prompts with examples take more of them
    "gemma-sst2": ["encode.max_length=512"],
    "llama-squad": ["encode.max_length=4096", *FEW],
    "gemma-squad": FEW,
    "gemma3-270m-sst2": ["encode.max_length=4096"],
    "gemma3-270m-sst2-labels": ["encode.max_length=4096", "train_sizes=[16]"],
    "gemma3-270m-imdb": ["encode.max_length=4096"],
    "gemma3-270m-squad": ["encode.max_length=4096", *FEW, "split.sample_unit=item"],
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the real data are not in {DATA}"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """By the architecture that the recipe names: MiniLM itself, or a tiny decoder that reads as far."""
    root = tmp_path_factory.mktemp("models")
    found = {"bert": MINILM, "distilbert": MINILM}
    for kind in ("llama", "gemma2", "gemma3_text", "mistral"):
        folder = tiny_model(root / kind, kind, chat=kind not in ("llama", "gemma3_text"))
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8192}))
        found[kind] = folder
    return found


@pytest.fixture(scope="module")
def short_reviews(tmp_path_factory) -> Path:
    """IMDB's shortest reviews: a tiny decoder spells a word in many tokens."""
    folder = tmp_path_factory.mktemp("imdb")
    for part in ("train", "test"):
        rows = parquet.read_table(DATA / "imdb" / f"{part}.parquet", columns=["text", "label"])
        parquet.write_table(
            rows.filter(compute.less(compute.utf8_length(rows["text"]), SHORT)), folder / f"{part}.parquet"
        )
    return folder


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs_to_its_report(path, models, short_reviews, tmp_path, capsys):
    recipe = read_recipe(path)
    facts = MODELS[recipe.models[0].id].published
    assert isinstance(facts, PublishedConfig)
    changes = [
        f"models=[{models[facts.values['model_type']]}]",
        *READ_FROM[recipe.task_name],
        *CUTS,
        *MORE.get(path.stem, []),
    ]
    if recipe.task_name == "imdb" and facts.values["model_type"] != "distilbert":
        changes.append(f"task.path={short_reviews}")
    words = [word for change in changes for word in ("--set", change)]
    out = tmp_path / "study"
    assert main(["run", str(path), "--out", str(out), "--quiet", *words]) == 0, capsys.readouterr()
    report = json.loads((out / "report.json").read_text())
    arms = {arm["arm"]: arm for arm in report["arms"]}
    assert {arm.name for arm in recipe.arms} == set(arms)
    assert {arm["status"] for arm in arms.values()} == {"done"}
    assert report["verdict"]["headline"]
    page = (out / "report.html").read_text()
    assert all(arm.name in page for arm in recipe.arms)
