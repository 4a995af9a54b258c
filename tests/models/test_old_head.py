"""A finished classifier as base: its rows keep the meaning of their names, or are drawn anew.

In: tiny classifiers of several architectures. Out: nothing. Knows nothing of: the pipeline.
"""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.open_model import Opened, open_model
from tests.tiny_models import tiny_model
from tuneproof.models.heads import head_layer, last_linear
from tuneproof.models.load import pretrained_on_meta
from tuneproof.parameters.ledger import parameter_ledger

KINDS = ("bert", "distilbert", "roberta", "modernbert", "electra", "deberta-v2", "llama", "gpt2")


@pytest.fixture(scope="module")
def classifier_of(tmp_path_factory):
    """Folders of classifiers with rows for the labels calm and shouted."""
    root, folders = tmp_path_factory.mktemp("classifiers"), {}

    def folder_of(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tiny_model(root / kind, kind)
            names = {0: "calm", 1: "shouted"}
            model = AutoModelForSequenceClassification.from_pretrained(folders[kind], id2label=names)
            with torch.no_grad():
                for weight in last_linear(model.get_submodule(head_name(model))).parameters():
                    weight.copy_(torch.arange(weight.numel()).reshape(weight.shape) / 100 + 1)
            model.save_pretrained(folders[kind])
        return folders[kind]

    return folder_of


def head_name(model) -> str:
    return "score" if hasattr(model, "score") else "classifier"


def rows_of(opened: Opened) -> torch.Tensor:
    return last_linear(head_layer(opened.model, opened.family)).weight.detach()


def old_rows(folder: Path) -> torch.Tensor:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    return last_linear(model.get_submodule(head_name(model))).weight.detach()


@pytest.mark.parametrize("kind", KINDS)
def test_an_old_head_is_not_kept_by_position(classifier_of, kind) -> None:
    folder = classifier_of(kind)
    first, second = (open_model(folder, "labels", ("loud", "quiet"), seed) for seed in (0, 1))
    assert rows_of(first).isfinite().all()
    assert rows_of(first).abs().max() < 1
    assert not torch.equal(rows_of(first), rows_of(second))
    assert any(note.startswith("Drawn anew: ") and "0 calm, 1 shouted" in note for note in first.notes)
    layers = {name.rpartition(".")[0] for name in first.fresh}
    assert layers == {name for name, m in first.model.named_modules() if m is last_linear_of(first)}


def last_linear_of(opened: Opened) -> torch.nn.Linear:
    return last_linear(head_layer(opened.model, opened.family))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_follow_the_labels_names(classifier_of, kind) -> None:
    folder = classifier_of(kind)
    opened = open_model(folder, "labels", ("Shouted", "calm"))
    assert torch.equal(rows_of(opened), old_rows(folder)[[1, 0]])
    assert opened.fresh == ()
    assert "by the labels' names (0 calm, 1 shouted)" in opened.notes[0]


def test_a_head_without_names_is_drawn_anew(classifier_of, tmp_path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(
        classifier_of("bert"), id2label={0: "LABEL_0", 1: "LABEL_1"}
    )
    folder = tiny_model(tmp_path / "bert", "bert")
    model.save_pretrained(folder)
    opened = open_model(folder, "labels", ("calm", "shouted"), 0)
    assert "0 LABEL_0, 1 LABEL_1" in opened.notes[0]
    assert not torch.equal(rows_of(opened), old_rows(folder))


def test_labels_that_differ_in_case_alone_are_told_apart(tmp_path) -> None:
    folder = tiny_model(tmp_path / "bert", "bert")
    names = {0: "us", 1: "US"}
    AutoModelForSequenceClassification.from_pretrained(folder, id2label=names).save_pretrained(folder)
    opened = open_model(folder, "labels", ("US", "us"))
    assert torch.equal(rows_of(opened), old_rows(folder)[[1, 0]])


def test_the_ledger_counts_the_old_head_as_dropped(classifier_of) -> None:
    folder = classifier_of("bert")
    for labels, parts in ((("loud", "quiet"), ["dropped", "head"]), (("calm", "shouted"), [])):
        opened = open_model(folder, "labels", labels, 0)
        pretrained = pretrained_on_meta_of(folder, opened)
        ledger = parameter_ledger(opened.model, pretrained, opened.family, fresh=opened.fresh)
        assert [line.part for line in ledger.lines] == parts
        assert ledger.total == sum(p.numel() for p in opened.model.parameters())


def pretrained_on_meta_of(folder: Path, opened: Opened):
    from tuneproof.families.models import resolve_model

    assert json.loads((folder / "config.json").read_text())["architectures"] == [type(opened.model).__name__]
    return pretrained_on_meta(resolve_model(folder), opened.config)
