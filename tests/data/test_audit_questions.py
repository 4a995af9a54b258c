"""What the audit says of questions: answers out of place, shares, questions that tell the label."""

from pathlib import Path

import numpy as np
import pytest

from tuneproof.data.audit import audit_splits
from tuneproof.data.audit_questions import MAX_PROBE_AUC
from tuneproof.data.splits import make_splits
from tuneproof.settings import SplitSettings
from tuneproof.tasks import TASKS
from tuneproof.tasks.question_rows import LABELS, QuestionRow, build_examples, find_shared_paragraphs
from tuneproof.tasks.task import Rows

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "squad_v2"
TASK = TASKS["questions"]
assert TASK.overlaps is find_shared_paragraphs


def found(rows: list[QuestionRow], lowercase: bool = False, **settings) -> dict:
    """Findings by name."""
    items = build_examples(rows, lowercase)
    read = Rows({"all": items}, LABELS, {}, grouped=True)
    splits = make_splits(TASK, read, SplitSettings(kind="shares", **settings))
    return {finding.name: finding for finding in audit_splits(TASK, splits)}


def rows_of(ask, count: int = 800, answer: str = "gold") -> list[QuestionRow]:
    """`ask(number, answerable)` is a question; every paragraph has two, one without an answer."""
    return [
        QuestionRow(
            f"row {n}",
            f"q{n}",
            "",
            f"paragraph {n // 2} holds gold",
            ask(n, n % 2 == 0),
            (answer,) if n % 2 == 0 else (),
            (None,) if n % 2 == 0 else (),
        )
        for n in range(count)
    ]


def test_casing_that_tells_the_label_is_warned_of_and_lower_case_silences_it():
    rng = np.random.default_rng(0)
    words = ["Alpha", "Beta", "Gamma", "Delta", "Omega"]

    def ask(number: int, answerable: bool) -> str:
        text = " ".join(rng.choice(words, 6)) + "?"
        return text if answerable else text.lower()

    rows = rows_of(ask)
    cased = found(rows)
    assert cased["question_tells_label"].level == "warning"
    assert "AUC of 1.00" in cased["question_tells_label"].message
    assert "set lowercase: true" in cased["question_tells_label"].message
    lower = found(rows, lowercase=True)
    assert "question_tells_label" not in lower
    assert lower["question_probe"].level == "note"


def test_words_that_tell_the_label_are_named_whatever_the_case():
    asked = found(rows_of(lambda n, can: f"{'which' if can else 'never'} thing {n % 7}?"), True)
    examples = {example["label"]: example["words"] for example in asked["question_tells_label"].examples}
    assert examples["unanswerable"].startswith("never")
    assert examples["answerable"].startswith("which")


def test_an_answer_that_is_nowhere_stops_the_study_unless_allowed():
    asked = found(rows_of(lambda n, can: f"what {n}?", answer="silver"))
    finding = asked["answer_not_in_context"]
    assert (finding.level, finding.count) == ("error", 400)
    assert finding.allowed_by == "audit.allow: [answer_not_in_context]"


def test_moved_and_ambiguous_answers_are_counted():
    context = "gold and gold again"
    rows = rows_of(lambda n, can: f"what {n}?", 40)
    rows[0] = QuestionRow("r", "q0", "", context, "a?", ("gold",), (2,))
    rows[2] = QuestionRow("r", "q2", "", context, "b?", ("gold",), (None,))
    asked = found(rows)
    assert asked["answer_moved"].count == 1
    assert asked["answer_moved"].level == "warning"
    assert asked["answer_ambiguous"].count == 1


def test_shares_of_unanswerable_questions_stand_beside_what_never_answering_scores():
    asked = found(rows_of(lambda n, can: f"what {n}?"))
    assert "never answering scores 50.0% on test" in asked["unanswerable"].message
    assert asked["unanswerable"].level == "note"
    assert not any(name.startswith("imbalance") for name in asked)


def test_questions_of_one_paragraph_are_no_near_duplicates():
    long = "a long paragraph of many words that stays the same for all of its questions " * 4
    rows = [
        QuestionRow(
            "r",
            f"q{n}",
            "",
            f"{long} number {n // 20} {n // 20 * 7}",
            f"what {n}?",
            ("long",) if n % 2 else (),
            (None,) if n % 2 else (),
        )
        for n in range(200)
    ]
    asked = found(rows, leak_safe=False)
    near = [name for name in asked if name.startswith("near_duplicates_in_train")]
    assert not near or asked[near[0]].count < 10


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/squad_v2 is not there")
def test_the_trap_in_the_real_train_subset_is_flagged_and_goes_with_lower_case():
    task = TASKS["squad_v2"]
    said = {}
    for lowercase in (False, True):
        options = task.options(
            train=str(DATA / "train-subset-v2.parquet"),
            test=str(DATA / "dev-v2.0.json.gz"),
            lowercase=lowercase,
        )
        splits = make_splits(task, task.read(options), SplitSettings(test_size=500))
        from tuneproof.data.audit_questions import audit_questions

        said[lowercase] = {finding.name: finding.message for finding in audit_questions(splits)}
    assert "question_tells_label" in said[False]
    assert "question_tells_label" not in said[True]
    area = float(said[True]["question_probe"].split("AUC of ")[1].split()[0])
    assert area < MAX_PROBE_AUC - 0.05
