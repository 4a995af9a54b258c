"""The positive class is named, not only the last of the sorted labels."""

import pytest
from pydantic import ValidationError

from tuneproof.errors import RecipeError
from tuneproof.tasks.labels import LabelsOptions, read


def _file(path, labels):
    lines = [f"text {number},{label}" for number, label in enumerate(labels * 2)]
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    return str(path)


def test_the_named_class_comes_last_and_the_items_keep_their_labels(tmp_path):
    path = _file(tmp_path / "a.csv", ["ham", "spam"])
    assert read(LabelsOptions(path=path)).labels == ("ham", "spam")
    rows = read(LabelsOptions(path=path, positive="ham"))
    assert rows.labels == ("spam", "ham")
    assert [rows.labels[item.label] for item in rows.parts["all"]] == ["ham", "spam"] * 2


@pytest.mark.parametrize(
    ("labels", "problem"), [(["a", "b"], "'c' is not a label"), (["a", "b", "d"], "there are 3 labels")]
)
def test_a_positive_class_that_is_none_of_two_labels_is_refused(tmp_path, labels, problem):
    with pytest.raises(RecipeError, match=problem):
        read(LabelsOptions(path=_file(tmp_path / "a.csv", labels), positive="c"))


def test_labels_in_another_order_contradict_it():
    with pytest.raises(ValidationError, match="ends with another label"):
        LabelsOptions(path="a.csv", labels=("a", "b"), positive="a")
    assert LabelsOptions(path="a.csv", labels=("a", "b"), positive="b").positive == "b"
