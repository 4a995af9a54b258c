"""The report's own parts for questions: kinds, slices, thresholds, excerpts."""

import json

import numpy as np
import pytest

from tests.score.answered import answered
from tuneproof.record.study_folder import Items
from tuneproof.report.flips import NO_ANSWER, compare_all_answers, flips_payload
from tuneproof.report.question_sections import (
    no_answer_share_note,
    null_score_histograms,
    question_kind,
    slice_questions,
    threshold_rows,
)
from tuneproof.report.slices import ArmPredictions
from tuneproof.report.tables import ArmRow

CONTEXT = "In 1066 William sailed. " * 30


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("In what year did it end?", "what"),
        ("Whose ships sailed?", "who"),
        ("How many ships were there when he sailed?", "how many"),
        ("How did they sail?", "how"),
        ("Name the ship.", "other"),
        ("Somewhat later, where did he land?", "where"),
    ],
)
def test_a_question_is_named_by_its_first_question_word(text, kind):
    assert question_kind(text) == kind


def arm(name: str, answers: list[str], null: list[float]) -> ArmPredictions:
    row = ArmRow(name, None, name, "tuned", (), "done", "", {}, None, None, None, None, None)
    golds = ["1066", None, "William", None, "ships of the line", None]
    return ArmPredictions(0, row, (None,), (answered(golds, answers, null, ["a"] * 3 + ["b"] * 3),))


NULLS = [-2.0, 1.0, -1.0, -3.0, 2.0, 4.0]
FULL = arm("full", ["1066", "x", "William", "y", "ships", "z"], NULLS)
BASE = arm("majority", [""] * 6, [0.0] * 6)


def items() -> Items:
    asked = [
        json.dumps({"question": f"{word} is it?", "paragraph": "p", "golds": golds})
        for word, golds in zip(
            ("When", "Who", "Who", "Why", "What", "What"),
            ([["1066", CONTEXT.index("1066")]], [], [["William", 8]], [], [["ships of the line", -1]], []),
            strict=True,
        )
    ]
    ids = [f"q{n}" for n in range(6)]
    texts = [f"question {n}\n{CONTEXT}" for n in range(6)]
    return Items(ids, texts, ["answerable", "unanswerable"] * 3, ["a"] * 6, {}, asked)


def test_slices_hold_f1_and_exact_match_beside_it():
    found = slice_questions([BASE, FULL], items())
    kinds = {part.name: part for part in found["by answerability"]}
    assert [score.value for score in kinds["unanswerable"].accuracies] == [1, pytest.approx(2 / 3)]
    assert kinds["answerable"].items == 3
    assert kinds["answerable"].exact_match == (0, pytest.approx(2 / 3))
    words = {part.name: part.items for part in found["by question word"]}
    assert words == {"what": 2, "who": 2, "when": 1, "why": 1}
    lengths = [part.name for part in found["by length of the gold answer"]]
    assert lengths[0].startswith("1")
    assert sum(part.items for part in found["by length of the gold answer"]) == 3


def test_thresholds_show_dev_default_and_oracle_and_the_oracle_is_marked():
    tuned = ArmPredictions(0, FULL.row, (None,), (FULL.runs[0].with_threshold(3.0),))
    rows = threshold_rows([BASE, tuned])
    assert [row.rule for row in rows] == ["chosen on dev", "default", "oracle: best on test"]
    assert [row.oracle for row in rows] == [False, False, True]
    assert rows[0].threshold == 3.0
    assert rows[2].f1 >= max(rows[0].f1, rows[1].f1)
    assert rows[1].unanswerable_accuracy == pytest.approx(2 / 3)
    assert len(null_score_histograms([BASE, tuned])) == 1, "an arm with one null score has no histogram"


def test_a_dev_part_with_other_shares_of_unanswerable_questions_is_said():
    test = {"answerable": 50, "unanswerable": 50}
    said = no_answer_share_note({"dev": {"answerable": 89, "unanswerable": 11}, "test": test})
    assert said.startswith("11 % of the questions in dev and 50 % in test have no answer.")
    assert no_answer_share_note({"dev": {"answerable": 55, "unanswerable": 45}, "test": test}) == ""
    assert no_answer_share_note({"test": test}) == ""


def test_flips_carry_an_excerpt_around_the_answer_the_golds_and_both_answers():
    made = compare_all_answers([BASE, FULL], [{"arm": "full", "over": "majority", "claim": True}])
    value = flips_payload(made, items())
    assert value["questions"]
    assert value["labels"] == ["answerable", "unanswerable"]
    by_id = {row[0]: row for row in value["items"]}
    assert by_id["q0"][3] == ["1066"]
    assert by_id["q0"][2].startswith("When is it?\n")
    assert "1066" in by_id["q0"][2]
    assert len(by_id["q0"][2]) < 500 < len(CONTEXT)
    flips = {value["items"][flip[0]][0]: flip for flip in value["pairs"][0]["flips"]}
    assert set(flips) == {"q0", "q2", "q3"}
    assert value["answers"][flips["q0"][3]] == NO_ANSWER
    assert value["answers"][flips["q0"][4]] == "1066"
    assert flips["q3"][1:3] == [0, 1], "an answer that should have been withheld is a loss"
    assert np.isfinite(flips["q0"][1])
