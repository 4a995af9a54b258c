from pathlib import Path

import pytest

from tuneproof.tasks import TASKS

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "imdb"
TASK = TASKS["imdb"]


def test_line_breaks_replace_the_tags(tmp_path):
    (tmp_path / "train.csv").write_text(
        'text,label\n"Bad.<br /><br />Really, bad.",neg\nGood,pos\n'
    )
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
