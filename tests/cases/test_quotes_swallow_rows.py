"""Two halves of a quotation, thirty rows apart: no row is lost in silence."""

import pytest

from tests.open_model import SHARED
from tuneproof.errors import DataError
from tuneproof.tasks import TASKS
from tuneproof.tasks.tables import TextFormat, read_table

CASE = SHARED / "cases" / "files-01-quotes-swallow-rows"
pytestmark = pytest.mark.skipif(not CASE.is_dir(), reason="the shared cases are not here")
FILES = ("split_quote.csv", "split_quote.tsv")


@pytest.mark.parametrize("name", FILES)
def test_a_study_of_such_a_file_is_refused_with_its_lines(name):
    task = TASKS["labels"]
    with pytest.raises(DataError, match=r"row 12 \(lines 12 to 42\).*quotes: false"):
        task.read(task.options(path=str(CASE / name)))
    rows = task.read(task.options(path=str(CASE / name), quotes=False))
    assert len(rows.parts["all"]) == 120


@pytest.mark.parametrize("name", FILES)
def test_new_texts_are_refused_alike(name):
    with pytest.raises(DataError, match="lines 12 to 42"):
        read_table(CASE / name)
    assert len(read_table(CASE / name, TextFormat(quotes=False)).numbers) == 120
