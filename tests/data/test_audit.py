import json

import numpy as np
import pytest

from tuneproof.data.audit import (
    Finding,
    audit_encoding,
    audit_shots,
    audit_splits,
    list_checks,
    stop_on_errors,
)
from tuneproof.data.audit_tokens import audit_word_meanings
from tuneproof.data.splits import Splits, make_splits
from tuneproof.errors import DataError
from tuneproof.settings import SplitSettings
from tuneproof.tasks import TASKS
from tuneproof.tasks.task import Example, Rows

TASK = TASKS["labels"]
LONG = "a review of some length whose words are all its own and which says that number {} is fine"


def part(name: str, texts: list[str], label: int | None = None) -> list[Example]:
    return [
        Example(f"{name}-{i}", text, i % 2 if label is None else label, f"{name}-{i}")
        for i, text in enumerate(texts)
    ]


def splits(train=(), dev=(), test=(), leak_safe=True, **report) -> Splits:
    return Splits(
        train=list(train) or part("train", [f"train text {i}" for i in range(200)]),
        dev=list(dev) or part("dev", [f"dev text {i}" for i in range(200)]),
        test=list(test) or part("test", [f"test text {i}" for i in range(200)]),
        labels=("neg", "pos"),
        grouped=False,
        report={
            "leak_safe": leak_safe,
            "overlap": {"items": 0, "share": 0.0, "examples": []},
            "sorted_by_label": [],
            "dropped": {},
            **report,
        },
    )


def found(of: Splits) -> dict[str, Finding]:
    findings = audit_splits(TASK, of)
    json.dumps([finding.as_json() for finding in findings])
    return {finding.name: finding for finding in findings}


def test_clean_data_has_no_findings():
    assert found(splits()) == {}


def test_the_same_text_in_two_parts_is_found_across_case_and_punctuation():
    test = part("test", [f"Train: TEXT {i}!" for i in range(20)] + [f"other {i}" for i in range(180)])
    finding = found(splits(test=test))["duplicates_across"]
    assert (finding.level, finding.count) == ("warning", 20)
    assert finding.message == (
        "20 held-out items are also in an earlier part, same text except for case, spaces and "
        "punctuation (20 of test)."
    )
    assert finding.examples[0]["earlier"]["id"] == "train-0"


def test_near_duplicates_are_counted_apart_from_equal_ones():
    extra = [LONG.format(f"one hundred and {name}") for name in ("two", "three", "four")]
    train = part("train", [*extra, *(f"text {i}" for i in range(200))])
    near = [f"{extra[0]} indeed"]
    test = part("test", [*near, extra[1], *(f"held {i}" for i in range(198))])
    results = found(splits(train=train, test=test))
    assert results["near_duplicates_across"].count == 1
    assert results["near_duplicates_across"].level == "note"
    assert results["duplicates_across"].count == 1


def test_repeats_inside_train_are_counted_once_each():
    train = part("train", ["same text"] * 5 + [f"text {i}" for i in range(100)])
    train = [Example(item.id, item.text, 0, item.group) for item in train]
    finding = found(splits(train=train[:5] + part("more", [f"t {i}" for i in range(90)])))
    assert finding["duplicates_in_train"].count == 4
    assert finding["duplicates_in_train"].examples[0]["times"] == 5


def test_one_text_with_two_labels_is_found():
    train = part("train", ["So so.", "So  so.\n", *(f"text {i}" for i in range(100))])
    finding = found(splits(train=train))["conflicting_labels"]
    assert finding.message == (
        "1 text has two or more labels (2 items): no model can predict all of them correctly."
    )
    assert finding.examples[0]["labels"] == {"train-0": "neg", "train-1": "pos"}


@pytest.mark.parametrize(
    "pair", [("So so.", "so so"), ("really!", "really?"), ("he 'won'", "he won"), ("x :D", "x: d")]
)
def test_texts_that_differ_in_marks_are_not_said_to_be_the_same(pair):
    findings = found(splits(train=part("train", [*pair, *(f"text {i}" for i in range(100))])))
    assert "conflicting_labels" not in findings
    assert findings["labels_by_punctuation"].message == (
        "1 text has another label where only case, spaces or punctuation differ (2 items): either these "
        "decide, or the labels contradict each other."
    )
    assert findings["labels_by_punctuation"].examples[0]["text"] == " | ".join(pair)


def test_a_text_with_two_labels_is_counted_once_whatever_its_variants():
    train = part("train", ["So so.", "So so.", "so so", *(f"text {i}" for i in range(100))])
    findings = found(splits(train=train))
    assert findings["conflicting_labels"].count == 2
    assert "labels_by_punctuation" not in findings


def test_imbalance_is_said_with_its_share():
    test = part("test", [f"a {i}" for i in range(190)], 0) + part("more", [f"b {i}" for i in range(10)], 1)
    finding = found(splits(test=test))["imbalance_test"]
    assert finding.message.startswith("95.0% of test are neg: always predicting it reaches that accuracy")


def test_an_empty_text_is_an_error_that_can_be_allowed():
    findings = audit_splits(TASK, splits(train=part("train", ["", *(f"x {i}" for i in range(99))])))
    assert findings[0].name == "empty_text"
    with pytest.raises(DataError) as error:
        stop_on_errors(findings)
    assert str(error.value) == (
        "audit, empty_text: 1 text is empty. Fix it, or continue at your own risk with audit.allow: "
        "[empty_text]."
    )
    stop_on_errors(findings, ["empty_text"])


def test_a_small_test_part_says_how_wide_its_interval_is():
    finding = found(splits(test=part("test", [f"x {i}" for i in range(50)])))["small_test"]
    assert finding.level == "note"
    assert "50 items" in finding.message
    assert "± 11 points" in finding.message


def test_a_leaky_split_is_a_warning_with_its_share():
    items = [Example(f"row-{i}", f"text {i // 4}", i // 4 % 2, f"row-{i}") for i in range(400)]
    rows = Rows({"all": items}, ("neg", "pos"), {"name": "x"})
    made = make_splits(TASK, rows, SplitSettings(kind="shares", leak_safe=False))
    finding = found(made)["leaky_split"]
    assert finding.level == "warning"
    assert finding.message == (
        f"Train overlaps with {finding.count} of 80 test items, {finding.count / 80:.1%} (the same text); "
        "split.leak_safe: true prevents it."
    )


def test_what_was_left_out_and_sorted_rows_are_notes():
    results = found(splits(dropped={"empty text": 2, "blank line": 1}, sorted_by_label=["all"]))
    assert results["left_out"].message == "3 items were left out (empty text: 2, blank line: 1)."
    assert results["sorted_labels"].message.startswith("The source's rows are sorted by label (all)")


def encoding(**changes) -> dict[str, Finding]:
    values = {
        "lengths": np.full(100, 20),
        "truncated": np.zeros(100, dtype=bool),
        "supervised_counts": np.ones(100),
        "bos_counts": np.ones(100),
        "label_word_tokens": {"neg": [5], "pos": [6]},
        "max_length": 32,
        **changes,
    }
    return {finding.name: finding for finding in audit_encoding(**values)}


def test_a_sound_encoding_has_no_findings():
    assert encoding() == {}
    assert encoding(supervised_counts=None, bos_counts=None, label_word_tokens=None) == {}


@pytest.mark.parametrize(("count", "level"), [(5, "note"), (6, "warning")])
def test_truncation_above_five_percent_is_a_warning(count, level):
    lengths = np.where(np.arange(100) < count, 50, 20)
    finding = encoding(lengths=lengths, truncated=lengths > 32)["truncated"]
    assert finding.level == level
    assert finding.message == (
        f"{count}.0% of the items ({count} of 100) are longer than encode.max_length 32 and are "
        f"truncated; the longest has 50 tokens."
    )


def test_items_without_supervision_are_an_error_with_their_ids():
    counts = np.ones(100)
    counts[[3, 7]] = 0
    finding = encoding(supervised_counts=counts, ids=[f"row-{i}" for i in range(100)])
    assert finding["no_supervised_tokens"].level == "error"
    assert "2 items have no token that the loss counts (row-3, row-7)" in (
        finding["no_supervised_tokens"].message
    )


def test_a_second_bos_is_an_error():
    finding = encoding(bos_counts=np.full(100, 2))["bos_count"]
    assert (finding.level, finding.count) == ("error", 100)
    assert "have 2 BOS tokens; the model expects 1" in finding.message


def test_label_words_are_compared_by_their_tokens():
    assert encoding(label_word_tokens={"a": [5], "b": [5]})["label_words_alike"].level == "error"
    assert encoding(label_word_tokens={"a": [], "b": [5]})["label_words_alike"].level == "error"
    shared = encoding(label_word_tokens={"a": [5, 1], "b": [5, 2]})
    assert shared["label_words_share_start"].level == "warning"
    uneven = encoding(label_word_tokens={"a": [5, 1], "b": [6]})
    assert uneven["label_words_length"].message == (
        "The label words have different numbers of tokens (a 2, b 1); their scores are summed."
    )


def test_shots_that_contain_the_item_are_an_error():
    items = part("test", ["One text.", "another", "third"])
    assert audit_shots(part("train", ["far", "away"]), items) == []
    finding = audit_shots(part("train", ["far", "one TEXT"]), items)[0]
    assert (finding.name, finding.level) == ("shots_contain_item", "error")
    assert finding.message == ("The shots contain items to predict: 1 item is among the 2 shots (test-0).")


def test_what_is_looked_for_goes_by_the_kind_of_task_and_by_what_is_encoded() -> None:
    labels, questions = list_checks(TASKS["sst2"], True), list_checks(TASKS["squad_v2"], False)
    assert "unbalanced labels" in labels
    assert "unbalanced labels" not in questions
    assert "unanswerable questions, and questions whose words give the label away" in questions
    assert any("too long for the model" in one for one in labels)
    assert not any("too long for the model" in one for one in questions)


@pytest.mark.parametrize(
    "words", [("0", "1"), ("1", "2", "3"), ("-1.0", "1.0"), ("LABEL_0", "LABEL_1"), ("c1", "c2")]
)
def test_numbers_of_classes_as_label_words_are_a_warning(words):
    (finding,) = audit_word_meanings(words)
    assert (finding.name, finding.level) == ("label_numbers", "warning")
    assert words[0] in finding.message
    assert "words: [...]" in finding.message


@pytest.mark.parametrize("words", [("neg", "pos"), ("0", "one"), ("1 star", "2 stars"), ("yes", "no")])
def test_words_with_a_meaning_are_none(words):
    assert audit_word_meanings(words) == []
