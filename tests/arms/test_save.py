import pyarrow.parquet as pq

from tuneproof.arms.save import write_items
from tuneproof.data.splits import make_splits
from tuneproof.settings import SplitSettings
from tuneproof.tasks import TASKS
from tuneproof.tasks.task import Example, Rows


def test_items_are_written_in_their_order_however_many_at_a_time(tmp_path, monkeypatch):
    items = [Example(f"row-{i}", f"text {i}", i % 2, f"row-{i}", (f"from {i % 3}",)) for i in range(60)]
    rows = Rows({"all": items}, ("no", "yes"), {"name": "made up"}, columns=("source",))
    splits = make_splits(TASKS["labels"], rows, SplitSettings(kind="shares"))
    write_items(tmp_path / "whole", splits)
    monkeypatch.setattr("tuneproof.arms.save.ROWS_AT_ONCE", 7)
    write_items(tmp_path / "pieces", splits)
    whole = pq.read_table(tmp_path / "whole" / "items.parquet").to_pylist()
    assert pq.read_table(tmp_path / "pieces" / "items.parquet").to_pylist() == whole
    assert [row["id"] for row in whole] == [
        item.id for part in ("train", "dev", "test") for item in splits.part(part)
    ]
    first = splits.train[0]
    assert whole[0] == {
        "id": first.id,
        "part": "train",
        "text": first.text,
        "gold": splits.labels[first.label],
        "group": first.id,
        "own.source": first.values[0],
    }
