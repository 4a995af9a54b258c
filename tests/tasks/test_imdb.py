from pathlib import Path
from types import SimpleNamespace

import pytest

from tuneproof.errors import DataError
from tuneproof.tasks import TASKS

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "imdb"
TASK = TASKS["imdb"]


def test_line_breaks_replace_the_tags(tmp_path):
    (tmp_path / "train.csv").write_text('text,label\n"Bad.<br /><br />Really, bad.",neg\nGood,pos\n')
    (tmp_path / "test.jsonl").write_text('{"text": "So so", "label": 0}\n')
    rows = TASK.read(TASK.options(path=str(tmp_path)))
    assert rows.parts["train"][0].text == "Bad.\n\nReally, bad."
    assert [item.label for item in rows.parts["train"]] == [0, 1]
    assert [item.id for item in rows.parts["test"]] == ["test-00000"]
    assert not rows.grouped


def test_the_real_files_hold_both_halves_sorted():
    if not DATA.is_dir():
        pytest.skip("the IMDB files are not beside the project (../shared/data/imdb)")
    rows = TASK.read(TASK.options(path=str(DATA)))
    for part in ("train", "test"):
        assert [item.label for item in rows.parts[part]] == [0] * 12_500 + [1] * 12_500
    assert not any("<br />" in item.text for item in rows.parts["train"])


def test_the_hub_is_asked_for_the_pinned_revision(monkeypatch):
    import datasets

    asked = []

    def stub(name, config, revision):
        asked.append((name, revision))
        kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
        rows = {"text": ["bad<br />film", "good"], "label": [0, 1]}
        part = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
        parts = datasets.DatasetDict(train=part, test=part, unsupervised=part)
        return SimpleNamespace(name="parquet", download_and_prepare=lambda: None, as_dataset=lambda: parts)

    monkeypatch.setattr(datasets, "load_dataset_builder", stub)
    rows = TASK.read(TASK.options())
    assert asked == [("stanfordnlp/imdb", "e6281661ce1c48d982bc483cf8a173c1bbeb5d31")]
    assert [(item.text, item.label) for item in rows.parts["test"]] == [("bad\nfilm", 0), ("good", 1)]


def test_a_hub_that_cannot_be_reached_points_to_local_files(monkeypatch):
    import datasets

    def stub(name, config, revision):
        raise ConnectionError("Couldn't reach the hub.")

    monkeypatch.setattr(datasets, "load_dataset_builder", stub)
    with pytest.raises(DataError) as error:
        TASK.read(TASK.options())
    assert str(error.value) == (
        "hub data set stanfordnlp/imdb: could not be downloaded at revision "
        "e6281661ce1c48d982bc483cf8a173c1bbeb5d31: Couldn't reach the hub. Connect to the network, or "
        "name local files with path:."
    )
