import random
from pathlib import Path

import pytest

from tuneproof.errors import DataError
from tuneproof.tasks import TASKS

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "sst2"
TASK = TASKS["sst2"]
ROWS = "sentence\tlabel\na good film\t1\ngood film \t1\ndull\t0\n"


def folder(tmp_path: Path, train: str = ROWS, dev: str = "sentence\tlabel\nso dull\t0\nfine\t1\n") -> Path:
    (tmp_path / "train.tsv").write_text(train)
    (tmp_path / "dev.tsv").write_text(dev)
    return tmp_path


def test_rows_have_stable_ids_and_their_parent_as_group(tmp_path):
    rows = TASK.read(TASK.options(path=str(folder(tmp_path))))
    train = rows.parts["train"]
    assert [item.id for item in train] == ["train-000000", "train-000001", "train-000002"]
    assert [item.group for item in train] == ["train-000000", "train-000000", "train-000002"]
    assert [item.text for item in train] == ["a good film", "good film", "dull"]
    assert [item.label for item in train] == [1, 1, 0]
    assert [item.id for item in rows.parts["test"]] == ["validation-000000", "validation-000001"]
    assert rows.grouped


def test_three_rows_rendered_exactly(tmp_path):
    options = TASK.options(path=str(folder(tmp_path)))
    prompt = TASK.prompt(options, ("negative", "positive"))
    assert [prompt.template.replace("{text}", i.text) for i in TASK.read(options).parts["train"]] == [
        "Review: a good film\nSentiment:",
        "Review: good film\nSentiment:",
        "Review: dull\nSentiment:",
    ]


def test_a_wrong_label_is_named_with_its_row(tmp_path):
    with pytest.raises(DataError) as error:
        TASK.read(TASK.options(path=str(folder(tmp_path, ROWS + "odd\t2\n"))))
    assert str(error.value) == (
        f"{tmp_path}/train.tsv, row 5: the label '2' is not one of 0 (negative), 1 (positive). Fix the row."
    )


def test_a_folder_without_the_files_says_which(tmp_path):
    with pytest.raises(DataError, match="has no glue_train or train file"):
        TASK.read(TASK.options(path=str(tmp_path)))
    with pytest.raises(DataError, match="does not exist"):
        TASK.read(TASK.options(path=str(tmp_path / "none")))


@pytest.fixture(scope="module")
def real():
    if not DATA.is_dir():
        pytest.skip("the SST-2 files are not beside the project (../shared/data/sst2)")
    return TASK.read(TASK.options(path=str(DATA)))


def test_the_real_file_has_6885_parents(real):
    assert (len(real.parts["train"]), len(real.parts["test"])) == (67_349, 872)
    assert len({item.group for item in real.parts["train"]}) == 6_885


def test_the_real_dev_part_overlaps_train_by_12_8_percent(real):
    texts = {part: [item.text for item in items] for part, items in real.parts.items()}
    found = TASK.overlaps(texts["train"], texts["test"])
    assert round(float((found.leaked_by_H >= 0).mean()), 3) == 0.128
    assert round(float(found.contained_H.mean()), 3) == 0.002


def test_a_random_split_of_the_real_file_gives_nearly_all_away(real):
    texts = [item.text for item in real.parts["train"]]
    random.Random(0).shuffle(texts)
    found = TASK.overlaps(texts[13_470:], texts[:13_470])
    assert (found.leaked_by_H >= 0).mean() > 0.98
