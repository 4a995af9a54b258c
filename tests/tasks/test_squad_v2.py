"""SQuAD 2.0 from its official JSON, from Parquet, and as the real files hold it."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from tuneproof.data.splits import make_splits
from tuneproof.errors import DataError
from tuneproof.settings import SplitSettings
from tuneproof.tasks import TASKS

TASK = TASKS["squad_v2"]
DATA = Path(__file__).parents[2].parent / "shared" / "data" / "squad_v2"
CONTEXT = "It was in 1066."
ASKED = [
    {
        "id": "a",
        "question": "When?",
        "answers": [{"text": "1066", "answer_start": 10}],
        "is_impossible": False,
    },
    {
        "id": "b",
        "question": "Who?",
        "answers": [],
        "is_impossible": True,
        "plausible_answers": [{"text": "It", "answer_start": 0}],
    },
]


def official(asked: list[dict], title: str = "Hastings") -> str:
    paragraphs = [{"context": CONTEXT, "qas": asked}]
    return json.dumps({"version": "v2.0", "data": [{"title": title, "paragraphs": paragraphs}]})


def folder(tmp_path: Path, packed: bool) -> Path:
    for name, mark in (("train", "t"), ("dev", "d")):
        text = official([{**row, "id": mark + row["id"]} for row in ASKED], name)
        if packed:
            (tmp_path / f"{name}-v2.0.json.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (tmp_path / f"{name}-v2.0.json").write_text(text)
    return tmp_path


@pytest.mark.parametrize("packed", [False, True])
def test_the_official_json_is_read_plain_and_packed(tmp_path, packed):
    rows = TASK.read(TASK.options(path=str(folder(tmp_path, packed))))
    assert {part: [item.id for item in items] for part, items in rows.parts.items()} == {
        "train": ["ta", "tb"],
        "test": ["da", "db"],
    }
    first, second = rows.parts["train"]
    assert (first.label, second.label) == (0, 1)
    assert first.required_question.golds[0].start == 10
    assert second.required_question.golds == (), "plausible answers are no answers"
    assert first.group == second.group == "train"
    assert rows.source["parts"]["train"]["version"] == "v2.0"


def test_parquet_with_the_hubs_schema_gives_the_same_items(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, mark in (("train", "t"), ("validation", "d")):
        rows = [
            {
                "id": mark + row["id"],
                "title": {"t": "train", "d": "dev"}[mark],
                "context": CONTEXT,
                "question": row["question"],
                "answers": {
                    "text": [a["text"] for a in row["answers"]],
                    "answer_start": [a["answer_start"] for a in row["answers"]],
                },
            }
            for row in ASKED
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    found = TASK.read(TASK.options(path=str(tmp_path)))
    (tmp_path / "json").mkdir()
    other = TASK.read(TASK.options(path=str(folder(tmp_path / "json", False))))
    assert found.parts == other.parts


def test_the_hubs_rows_give_the_same_items(tmp_path, monkeypatch):
    from tuneproof.tasks.tables import Table

    asked = {}

    def hub(name, revision, config=None):
        asked[name] = revision

        def columns(mark, title):
            return {
                "id": [mark + row["id"] for row in ASKED],
                "title": [title] * 2,
                "context": [CONTEXT] * 2,
                "question": [row["question"] for row in ASKED],
                "answers": [{"text": ["1066"], "answer_start": [10]}, {"text": [], "answer_start": []}],
            }

        return {
            "train": Table("train", columns("t", "train"), (1, 2)),
            "validation": Table("validation", columns("d", "dev"), (1, 2)),
        }

    monkeypatch.setattr("tuneproof.tasks.public_data.read_hub", hub)
    found = TASK.read(TASK.options())
    assert found.parts == TASK.read(TASK.options(path=str(folder(tmp_path, False)))).parts
    assert asked == {"rajpurkar/squad_v2": "3ffb306f725f7d2ce8394bc1873b24868140c412"}


def test_a_folder_without_the_files_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no train-v2\.0 or train file"):
        TASK.read(TASK.options(path=str(tmp_path)))


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/squad_v2 is not there")
def test_the_real_files_have_their_published_sizes():
    rows = TASK.read(
        TASK.options(train=str(DATA / "train-subset-v2.parquet"), test=str(DATA / "dev-v2.0.json.gz"))
    )
    labels = {part: Counter(rows.labels[item.label] for item in items) for part, items in rows.parts.items()}
    assert labels["test"] == {"answerable": 5_928, "unanswerable": 5_945}
    assert labels["train"] == {"answerable": 15_412, "unanswerable": 2_063}
    assert len({item.group for item in rows.parts["test"]}) == 35
    assert 1_200 <= len({item.required_question.paragraph for item in rows.parts["test"]}) <= 1_204
    places = Counter(
        gold.start_from for items in rows.parts.values() for i in items for gold in i.required_question.golds
    )
    assert set(places) == {"source"}, "every offset of the real files is right"
    splits = make_splits(TASK, rows, SplitSettings())
    assert len(splits.test) == 11_873
    assert not {i.group for i in splits.train} & {i.group for i in splits.dev}
