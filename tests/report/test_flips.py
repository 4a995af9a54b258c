"""Flips, slices and tables on hand-made predictions."""

from pathlib import Path

import numpy as np
import pytest

from tests.report.made_study import write_study
from tuneproof.inference.prediction import Predictions
from tuneproof.record.study_folder import Items, read_items, read_study
from tuneproof.report.arm_table import arm_table, undone_arms
from tuneproof.report.flips import compare_answers, flips_payload
from tuneproof.report.slices import ArmPredictions, count_confusions, slice_scores
from tuneproof.report.tables import ArmRow, arm_rows, headline, pooled_rows


def answers(name: str, predicted: list[list[int]], place: int = 0) -> ArmPredictions:
    """An arm with one table a seed over golds 0, 1, 0, 1."""
    tables = tuple(
        Predictions(
            labels=("no", "yes"),
            ids=["a", "b", "c", "d"],
            groups=["g", "g", "g", "h"],
            gold_N=np.array([0, 1, 0, 1]),
            predicted_N=np.array(seed),
            tokens_N=np.ones(4, dtype=np.int64),
            truncated_N=np.zeros(4, dtype=bool),
        )
        for seed in predicted
    )
    row = ArmRow(name, None, name, "tuned", (), "done", "", {}, None, None, None, None, None)
    return ArmPredictions(place, row, tuple(range(len(tables))), tables)


ITEMS = Items(["a", "b", "c", "d"], ["one", "two words", "it is three", "x" * 90], ["no"] * 4, ["g"] * 4)


def test_right_and_wrong_before_and_after_are_counted() -> None:
    made = compare_answers(answers("old", [[0, 0, 0, -1]]), answers("new", [[0, 1, 1, -1]]))
    assert (made.both_right, made.gained, made.lost, made.both_wrong) == (1, 1, 1, 1)
    assert {flip.id: (flip.gained, flip.lost) for flip in made.flips} == {"b": (1, 0), "c": (0, 1)}


def test_what_got_worse_is_said_by_gold_label() -> None:
    made = compare_answers(answers("old", [[0, 1, 0, 1]]), answers("new", [[0, 0, 1, 0]]))
    assert made.describe_losses() == "Regressions: new loses 3 of the 4 correct answers of old (2 yes, 1 no)."
    made = compare_answers(answers("old", [[1, 0, 0, 1]]), answers("new", [[0, 0, 0, 1], [0, 1, 0, 1]]))
    assert made.describe_losses() == (
        "No regressions: new keeps all 4 correct answers of old, counted over 2 pairs of seeds."
    )


def test_an_arm_without_seeds_stands_beside_every_seed() -> None:
    made = compare_answers(answers("old", [[0, 0, 0, 0]]), answers("new", [[0, 1, 0, 1], [0, 1, 0, 0]]))
    assert made.seeds == 2
    assert (made.both_right, made.gained, made.lost, made.both_wrong) == (4, 3, 0, 1)
    assert {flip.id: flip.gained for flip in made.flips} == {"b": 2, "d": 1}


def test_an_unparsed_answer_is_named_and_never_right() -> None:
    made = compare_answers(answers("old", [[-1, 1, 0, 1]]), answers("new", [[0, 1, 0, 1]]))
    assert [(f.before, f.after) for f in made.flips] == [("unparsed", "no")]
    (matrix,) = count_confusions([answers("old", [[-1, 1, 0, 1]])])
    assert matrix.counts == [[1, 0, 1], [0, 2, 0]]
    assert matrix.unparsed == 1


def test_texts_are_shortened_to_the_budget_and_counted() -> None:
    made = [compare_answers(answers("old", [[1, 0, 1, 0]]), answers("new", [[0, 1, 0, 1]]))]
    whole, cut = flips_payload(made, ITEMS), flips_payload(made, ITEMS, budget=100)
    assert (whole["shortened"], cut["shortened"]) == (0, 1)
    assert [item[0] for item in cut["items"]] == ["a", "b", "c", "d"]
    assert len(cut["items"][3][2]) < 90
    assert len(whole["pairs"][0]["flips"]) == 4


def test_accuracy_is_split_by_class_length_and_group() -> None:
    found = slice_scores([answers("arm", [[0, 0, 0, 1]])], ITEMS)
    by_class = {part.name: part.accuracies[0].value for part in found["by label"]}
    assert by_class == {"no": 1.0, "yes": 0.5}
    assert sum(part.items for part in found["by text length"]) == 4
    (group,) = found[list(found)[-1]]
    assert list(found)[-1].startswith("by group: the 1 hardest of 1 ")
    assert (group.name, group.items) == ("g", 3)
    assert group.accuracies[0].value == pytest.approx(2 / 3)


def test_seeds_are_taken_together_and_failures_keep_their_reason(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path))
    assert len(arm_rows(study)) == 8
    pooled = {row.arm: row for row in pooled_rows(study)}
    assert len(pooled) == 7
    assert pooled["full"].seeds == (0, 1)
    assert pooled["full"].time_s == pytest.approx(520.0)
    assert pooled["majority"].trainable == 0
    table = arm_table(study)
    (few,) = [row for row in table.rows if row[0] == "few-shot"]
    assert few[2] == "impossible"
    ((name, reason),) = undone_arms(study)
    assert (name, reason[:34]) == ("few-shot", "impossible: the model's positions ")
    assert all(len(row) == len(table.header) == len(table.numeric) for row in table.rows)
    assert headline(study) == study.comparisons["verdict"]["sentence"]


def test_only_the_asked_part_of_the_items_is_read(tmp_path: Path) -> None:
    write_study(tmp_path, size=20)
    assert len(read_items(tmp_path).ids) == 20
    assert read_items(tmp_path, "train").texts == ["a train text"]
    assert read_items(tmp_path / "nowhere").ids == []
