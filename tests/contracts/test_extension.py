"""A task, a family, two methods and a metric, added to a copy of the tree as CONTRIBUTING says.

In: the page's sections, the tree. Out: nothing; the contract tests run on the copy in a process of their own.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Addition:
    """What a contributor writes: a file, its import and entry in the shelf's table, a test by hand."""

    kind: str
    name: str
    file: str
    imported: str
    entry: str
    test: str


TASK = Addition(
    kind="task",
    name="toy_news",
    file='''"""Toy news: headlines of four sections.

In: the train and test files, or the hub. Out: rows and a prompt.
Knows nothing of: splits, models, scores.
"""

from collections.abc import Sequence

from pydantic import Field

from tuneproof.tasks.public_data import read_labelled_rows
from tuneproof.tasks.task import Prompt, PublicSource, Rows, Task, TaskOptions

LABELS = ("world", "sport", "business", "science")
_SOURCE = PublicSource(
    name="toy news", hub="toy/news", revision="0" * 40, licence="CC0", text="headline", label="section"
)


class ToyNewsOptions(TaskOptions):
    """Where toy news is read from."""

    path: str | None = Field(None, description="A folder with train and test. Default: the hub.")


def read(options: ToyNewsOptions) -> Rows:
    """The headlines of train and test."""
    return read_labelled_rows(_SOURCE, LABELS, options.path)


def prompt(options: ToyNewsOptions, labels: Sequence[str]) -> Prompt:
    """The prompt for a headline."""
    return Prompt(
        instruction="Name the section of the headline.",
        template="Headline: {text}\\nSection:",
        words=LABELS,
        cloze="{text} This is {mask} news.",
        cloze_words=LABELS,
    )


TASK = Task(
    name="toy_news",
    version=1,
    kind="labels",
    title="Toy news: the section of a headline",
    options=ToyNewsOptions,
    read=read,
    prompt=prompt,
    metrics=("f1_macro", "accuracy"),
    labels=LABELS,
    paper="none",
    licence=_SOURCE.licence,
    source=_SOURCE,
)
''',
    imported="from tuneproof.tasks.toy_news import TASK as TOY_NEWS",
    entry="TOY_NEWS",
    test="""from tuneproof.tasks import TASKS


def test_three_rows_are_rendered(tmp_path):
    for part in ("train", "test"):
        text = "headline,section\\nA goal at last,sport\\nShares fall,2\\nA comet returns,Science\\n"
        (tmp_path / f"{part}.csv").write_text(text)
    task = TASKS["toy_news"]
    options = task.options(path=str(tmp_path))
    rows = task.read(options)
    prompt = task.prompt(options, rows.labels)
    rendered = [
        f"{prompt.template.format(text=item.text)} {prompt.words[item.label]}" for item in rows.parts["train"]
    ]
    assert rendered == [
        "Headline: A goal at last\\nSection: sport",
        "Headline: Shares fall\\nSection: business",
        "Headline: A comet returns\\nSection: science",
    ]
""",
)

FAMILY = Addition(
    kind="family",
    name="toy_neox",
    file='''"""The family of GPT-NeoX: decoders with one linear layer for query, key and value.

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.
"""

from tuneproof.families.family import Family, choose_pad, decoder_has_words_head, position_limit

FAMILY = Family(
    name="toy_neox",
    kind="decoder",
    model_types=("gpt_neox",),
    targets=("query_key_value", "attention.dense", "dense_h_to_4h", "dense_4h_to_h"),
    attention=("query_key_value", "attention.dense"),
    head="score",
    head_modules=("score", "qa_outputs"),
    words_head=("embed_out.", "lm_head."),
    bos="tokenizer",
    pad_rule=choose_pad,
    position_limit=position_limit,
    has_words_head=decoder_has_words_head,
)
''',
    imported="from tuneproof.families.toy_neox import FAMILY as TOY_NEOX",
    entry="TOY_NEOX",
    test="""import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from tuneproof.families import family_of


def test_the_published_count_of_pythia_14m():
    config = CONFIG_MAPPING["gpt_neox"](
        vocab_size=50304,
        hidden_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=2048,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert family_of(config).name == "toy_neox"
    assert sum(parameter.numel() for parameter in model.parameters()) == 14_067_712
""",
)

METHOD = Addition(
    kind="method",
    name="toy_ia3",
    file='''"""IA3: learned factors on what linear layers put out, through peft.

In: options, where the adapters stand. Out: peft's configuration. Knows nothing of: data, the loop.
"""

from typing import Any

from pydantic import Field

from tuneproof.methods.adapters import AdapterTargets, with_adapters
from tuneproof.methods.method import Method, base_frozen
from tuneproof.methods.options import AdapterOptions


class ToyIa3Options(AdapterOptions):
    """Settings of IA3."""

    learning_rate: float = Field(3e-3, gt=0, le=1, description="Peak learning rate of AdamW.")


def ia3_config(options: ToyIa3Options, targets: AdapterTargets) -> Any:
    """peft's configuration of IA3."""
    from peft import IA3Config

    return IA3Config(**targets.arguments(), feedforward_modules=[])


TOY_IA3 = Method(
    name="toy-ia3",
    kind="tuned",
    title="learned factors",
    options=ToyIa3Options,
    chance=True,
    paper="Liu et al. 2022, arXiv:2205.05638, section 3.3",
    differs="Factors on every linear layer, not on keys, values and the feed-forward layer alone.",
    apply=with_adapters(ia3_config),
    freezes_base=base_frozen,
)
''',
    imported="from tuneproof.methods.toy_ia3 import TOY_IA3",
    entry="TOY_IA3",
    test="""from transformers import LlamaForCausalLM

from tests.tiny_models import tiny_config, tiny_tokenizer
from tuneproof.families import family_of
from tuneproof.methods import METHODS


def test_one_factor_for_each_output_of_each_layer():
    config = tiny_config("llama", tiny_tokenizer("llama"))
    method, family = METHODS["toy-ia3"], family_of(config)
    for targets, outputs in (("all-linear", 32 + 16 + 16 + 32 + 64 + 64 + 32), (["up_proj"], 64)):
        options = method.options(objective="words", targets=targets)
        model = method.apply(LlamaForCausalLM(config), family, options, ())
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2 * outputs
""",
)

HEAD = Addition(
    kind="method",
    name="toy_lda",
    file='''"""A head by linear discriminant analysis on the frozen base.

In: features and labels of train and dev. Out: the head's weight and bias.
Knows nothing of: how features are computed.
"""

from dataclasses import replace

from tuneproof.methods.linear_head import HeadData, LinearHead, linear_head
from tuneproof.methods.method import Method
from tuneproof.methods.options import PoolingOption


def fit_lda(options: PoolingOption, data: HeadData) -> LinearHead:
    """One fit for each pooling; the lowest dev loss wins."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    heads = []
    for pooling, features_ND in data.train.items():
        fit = LinearDiscriminantAnalysis().fit(features_ND, data.train_labels_N)
        intercept_C = fit.intercept_ if data.has_bias else 0 * fit.intercept_
        head = linear_head(pooling, fit.coef_, intercept_C)
        loss, accuracy = head.dev_loss_and_accuracy(data)
        heads.append(replace(head, chosen={"dev_loss": loss, "dev_accuracy": accuracy}))
    return min(heads, key=lambda head: head.chosen["dev_loss"])


TOY_LDA = Method(
    name="toy-lda",
    kind="tuned",
    title="a head by linear discriminant analysis",
    options=PoolingOption,
    chance=False,
    paper="Fisher 1936, doi:10.1111/j.1469-1809.1936.tb02137.x",
    fit_head=fit_lda,
)
''',
    imported="from tuneproof.methods.toy_lda import TOY_LDA",
    entry="TOY_LDA",
    test="""import numpy as np

from tuneproof.methods import METHODS
from tuneproof.methods.linear_head import HeadData


def test_the_head_says_what_scikit_learn_says():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = (random.normal(size=(60, 4)) + labels[:, None]).astype(np.float32)
    data = HeadData({"mean": features}, labels, {"mean": features}, labels, True, 3)
    method = METHODS["toy-lda"]
    expected = LinearDiscriminantAnalysis().fit(features, labels).predict_proba(features)
    head = method.fit_head(method.options(), data)
    np.testing.assert_allclose(head.probabilities(features), expected, atol=1e-5)
""",
)

METRIC = Addition(
    kind="metric",
    name="toy_mcc",
    file='''"""Matthews correlation of labels.

In: golds and predictions. Out: per-item statistics and a formula. Knows nothing of: models, files.
"""

from typing import Any

import numpy as np

from tuneproof.metrics.metric import UNPARSED, LabelItems, Metric


def _cells(items: LabelItems) -> Any:
    """[N, C * (C + 1)]: which cell of the confusion table an item is in; the last column is unparsed."""
    labels = len(items.labels)
    column_N = np.where(items.predicted_N == UNPARSED, labels, items.predicted_N)
    return np.eye(labels * (labels + 1))[items.gold_N * (labels + 1) + column_N]


def _correlation(totals_K: Any, labels: int) -> Any:
    table = totals_K.reshape(*totals_K.shape[:-1], labels, labels + 1)
    gold_C, predicted_C = table.sum(axis=-1), table.sum(axis=-2)
    items = gold_C.sum(axis=-1)
    right = np.trace(table, axis1=-2, axis2=-1)
    above = right * items - (gold_C * predicted_C[..., :-1]).sum(axis=-1)
    below = (items**2 - (gold_C**2).sum(axis=-1)) * (items**2 - (predicted_C**2).sum(axis=-1))
    return np.divide(above, np.sqrt(below), out=np.zeros_like(above), where=below > 0).clip(-1, 1)


TOY_MCC = Metric(
    name="toy_mcc",
    title="Matthews correlation",
    needs="predicted",
    direction="up",
    low=-1.0,
    high=1.0,
    per_item=_cells,
    from_totals=_correlation,
    paper="Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006, equation 8",
)
''',
    imported="from tuneproof.metrics.toy_mcc import TOY_MCC",
    entry="TOY_MCC",
    test="""import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from tuneproof.metrics import METRICS, LabelItems, evaluate


def test_it_is_scikit_learns():
    random = np.random.default_rng(0)
    gold, predicted = random.integers(0, 4, (2, 50))
    items = LabelItems(("a", "b", "c", "d"), gold, predicted)
    assert evaluate(METRICS["toy_mcc"], items) == pytest.approx(matthews_corrcoef(gold, predicted))
""",
)

ADDITIONS = (TASK, FAMILY, METHOD, HEAD, METRIC)
STUDY = """
task: {toy_news: {path: "PATH"}}
models: [MODEL]
arms: [majority, lexical, toy-lda, {toy-ia3: {targets: [query_key_value], epochs: 1}}]
seeds: [0]
metrics: [log_loss]
claim: {arm: toy-ia3, over: lexical, metric: toy_mcc}
split: {kind: shares, shares: [60, 20, 20], leak_safe: false}
compute: {device: cpu, threads: 1}
out: study
"""
RUN_STUDY = """
from pathlib import Path
from tests.contracts.test_tasks import write_source
from tests.tiny_models import tiny_model
from tuneproof.parameters.count import count
from tuneproof.recipe.recipe import read_recipe
from tuneproof.record.study_folder import read_study
from tuneproof.study.study import run
from tuneproof.tasks import TASKS

rows = Path("rows")
rows.mkdir()
path = write_source(TASKS["toy_news"], rows)["path"]
model = tiny_model(Path("neox"), "gpt_neox")
text = Path("toy.yaml").read_text().replace("PATH", path).replace("MODEL", str(model))
Path("recipe.yaml").write_text(text)
study = run("recipe.yaml")
for arm in sorted((study.folder / "arms").iterdir()):
    scores = (arm / "scores.json").read_text()
    assert "toy_mcc" in scores, arm
    assert "f1_macro" in scores, arm
assert "Matthews correlation" in (study.folder / "report.html").read_text()
lines = count(str(model), "toy-ia3", task="toy_news").adaptation.ledger.lines
assert [line.part for line in lines if line.part == "adapters"] == ["adapters"], lines
print("study done")
"""


def named_paths(page: str, kind: str) -> list[str]:
    """The paths that a section "Adding a KIND" names, NAME standing for what is added."""
    section = re.search(rf"^## Adding a {kind}\n(.*?)(?=^## )", page, re.MULTILINE | re.DOTALL)
    assert section, f"CONTRIBUTING has no section on adding a {kind}"
    return re.findall(r"`((?:src|tests)/[\w/]+\.py)`", section[1])


def add(tree: Path, addition: Addition, page: str) -> list[str]:
    """Write what the page's section says, and nothing else; the tests that it names."""
    paths = named_paths(page, addition.kind)
    file = next(path for path in paths if path.startswith("src/") and path.endswith("/NAME.py"))
    table = next(path for path in paths if path.endswith("__init__.py"))
    test = next(path for path in paths if path.endswith("/test_NAME.py"))
    contract = next(path for path in paths if path.startswith("tests/contracts/"))
    assert {file, table, test, contract} <= set(paths)
    (tree / file.replace("NAME", addition.name)).write_text(addition.file, "utf-8")
    shelf = (tree / table).read_text("utf-8")
    lines = shelf.splitlines(keepends=True)
    end = max(node.end_lineno or 0 for node in ast.parse(shelf).body if isinstance(node, ast.ImportFrom))
    text = "".join([*lines[:end], f"{addition.imported}\n", *lines[end:]])
    table_tuple = re.compile(r"((?: in| =) \(\s*)(?=[\w*])")
    assert len(table_tuple.findall(text)) == 1, f"{table} has no single table"
    (tree / table).write_text(table_tuple.sub(rf"\1{addition.entry}, ", text), "utf-8")
    own_test = test.replace("NAME", addition.name)
    (tree / own_test).write_text(f'"""By hand."""\n\n{addition.test}', "utf-8")
    return [own_test, contract]


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> tuple[Path, list[str]]:
    """A copy of the tree with the additions, and the tests that the page names for them."""
    tree = tmp_path_factory.mktemp("extended")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    for name in ("pyproject.toml", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, tree / name)
    page = (tree / "CONTRIBUTING.md").read_text("utf-8")
    tests = [test for addition in ADDITIONS for test in add(tree, addition, page)]
    return tree, list(dict.fromkeys(tests))


def python(tree: Path, *words: str) -> str:
    """What a command says in the copy, which must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=tree, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def test_the_contract_tests_pass_for_what_was_added(extended) -> None:
    tree, tests = extended
    variants = "distilbert or bert or ia3-words or ia3-last"  # left to the slow test
    chosen = f"(toy or neox or shelf) and not ({variants})"
    output = python(tree, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *tests, "-k", chosen)
    assert "passed" in output


@pytest.mark.slow
def test_all_contract_tests_pass_after_the_additions(extended) -> None:
    tree, tests = extended
    python(tree, "-m", "pytest", "-p", "no:cacheprovider", *tests)


@pytest.mark.slow
def test_a_study_with_all_that_was_added_runs(extended) -> None:
    tree, _ = extended
    (tree / "toy.yaml").write_text(STUDY, "utf-8")
    assert "study done" in python(tree, "-W", "ignore", "-c", RUN_STUDY)
