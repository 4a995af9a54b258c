import pytest

from tuneproof.data.audit import audit_splits
from tuneproof.data.audit_lookalikes import audit_lookalikes, measure_lookalikes
from tuneproof.data.groups import merge_group_names
from tuneproof.data.splits import make_splits
from tuneproof.settings import SplitSettings
from tuneproof.tasks import TASKS
from tuneproof.tasks.task import Example, Rows


def _items(name, texts, groups=None):
    return [
        Example(f"{name}-{i}", text, i % 2, groups[i] if groups else f"{name}-{i}")
        for i, text in enumerate(texts)
    ]


TEMPLATED = [f"your order number {i} was sent on day x{i * 7}" for i in range(300)]
UNIQUE = [f"a{i} b{i} c{i} d{i} e{i}" for i in range(300)]


def _found(texts):
    rows = Rows({"all": _items("row", texts)}, ("neg", "pos"), {})
    splits = make_splits(TASKS["labels"], rows, SplitSettings())
    findings = audit_splits(TASKS["labels"], splits)
    return splits, {finding.name: finding for finding in findings}


def test_templated_texts_are_a_warning_with_share_measures_and_examples():
    splits, found = _found(TEMPLATED)
    finding = found["lookalikes"]
    assert (finding.level, finding.count) == ("warning", len(splits.test))
    assert [word for word in ("100.0%", "Jaccard", "group") if word not in finding.message] == []
    assert set(finding.examples[0]) == {"test_id", "test", "train_id", "train"}
    assert splits.report["lookalikes"]["ids"] == [item.id for item in splits.test]


def test_distinct_texts_have_no_finding():
    splits, found = _found(UNIQUE)
    assert "lookalikes" not in found
    assert splits.report["lookalikes"]["items"] == 0


@pytest.mark.parametrize(("alike", "level"), [(15, "note"), (16, "warning")])
def test_more_than_five_percent_is_a_warning(alike, level):
    train = _items("train", TEMPLATED[:100])
    test = _items("test", [*TEMPLATED[100 : 100 + alike], *UNIQUE[alike:]])
    report = {"lookalikes": measure_lookalikes(train, test)}
    assert audit_lookalikes(report)[0].level == level


NAMES = ["User 3", "user  3", " USER 3", "Ｕser 3", "User 4"]


def test_group_names_in_other_case_width_or_spaces_are_one_group():
    parts = {"all": _items("row", UNIQUE[:5], NAMES)}
    rows, merged = merge_group_names(Rows(parts, ("neg", "pos"), {}, grouped=True))
    assert [item.group for item in rows.parts["all"]] == ["User 3"] * 4 + ["User 4"]
    assert [entry["name"] for entry in merged] == NAMES[1:4]


def test_the_audit_counts_merged_group_names():
    groups = [name for i in range(100) for name in (f"User {i}", f"user {i}", f"User  {i}")]
    rows = Rows({"all": _items("row", UNIQUE, groups)}, ("neg", "pos"), {}, grouped=True)
    splits = make_splits(TASKS["labels"], rows, SplitSettings())
    found = {finding.name: finding for finding in audit_splits(TASKS["labels"], splits)}
    assert found["merged_groups"].count == 200
    assert sum(splits.report["groups"].values()) == 100
