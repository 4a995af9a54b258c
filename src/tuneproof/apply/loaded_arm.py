"""A finished arm in memory: loaded once, it predicts as often as it is called, from any thread.

In: an arm's folder; texts, or questions with contexts. Out: labels with probabilities, or answers.
Knows nothing of: gold labels, scores, files of texts.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock

from tuneproof.apply.abstaining import AbstainingPredictions, read_abstaining
from tuneproof.apply.finished_arm import prediction_kind, read_finished_arm, study_recipe
from tuneproof.apply.reload import reload_predictor
from tuneproof.errors import DataError, RunError
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import AnyPredictions, Predictions
from tuneproof.record.study_folder import ArmRecord
from tuneproof.tasks.contexts import Contexts
from tuneproof.tasks.question_rows import QuestionRow, build_examples
from tuneproof.tasks.task import Example
from tuneproof.tasks.whole_characters import check_whole_characters
from tuneproof.tasks.written_answers import item_of

LISTED_ROWS = 5
TOLERANCES = 16  # whose thresholds are remembered
# One computation at a time in the process: it sets torch's attention, and a tokenizer's padding.
_TURN = Lock()


class LoadedArm:
    """A finished arm with its weights. `name`; `kind`: "labels", "questions" (with contexts) or "answers" (to
    texts); `labels`: their names.

    `abstaining`: a share of wrong labels → the thresholds by which the arm abstains.
    """

    def __init__(self, arm_folder: Path | str, record: ArmRecord | None = None) -> None:
        """Load the arm. Raises: as `load`."""
        self.folder = Path(arm_folder)
        self.record = record or read_finished_arm(arm_folder)
        self.name: str = self.record.about["arm"]
        recipe = study_recipe(self.record)
        self.kind = prediction_kind(recipe.task)
        self._lowercase = bool(getattr(recipe.task_options, "lowercase", False))
        self.labels: tuple[str, ...] = tuple(self.record.about["labels"]) if self.kind == "labels" else ()
        self.study_name = self.record.folder.parent.parent.name
        self.abstaining = lru_cache(TOLERANCES)(partial(read_abstaining, self.record.folder))
        with _TURN:
            self._predict = reload_predictor(arm_folder, self.record)

    def __repr__(self) -> str:
        return f"LoadedArm({str(self.folder)!r})"

    def predict(self, texts: Sequence[str], abstain: float | None = None) -> Predictions:
        """Predictions of these texts, stripped as in training; their gold labels mean nothing.

        abstain: the share of wrong labels to tolerate; `AbstainingPredictions` then leave out the labels
        of which the arm is not sure enough.

        Raises: DataError where a text is empty or gives no token; RunError where the arm answers questions,
        or its dev items cannot show the share.
        """
        examples = text_examples(self.folder, self.kind, texts)
        abstaining = None if abstain is None else self.abstaining(abstain)
        predictions = self._run(examples)
        assert isinstance(predictions, Predictions)
        return predictions if abstaining is None else AbstainingPredictions.of(predictions, abstaining)

    def answer(self, questions: Sequence[str], contexts: Sequence[str] | None = None) -> AnswerPredictions:
        """Answers to these questions about these contexts; of an arm of kind "answers", to these texts.

        Raises: DataError where a question, context or text is empty; RunError where the arm predicts labels.
        """
        if self.kind != "answers":
            return self.answer_rows(question_rows(self.folder, self.kind, questions, contexts))
        predictions = self._run(written_examples(self.folder, questions, contexts))
        assert isinstance(predictions, AnswerPredictions)
        return predictions

    def answer_rows(self, rows: Sequence[QuestionRow]) -> AnswerPredictions:
        """As `answer`, for rows as read."""
        predictions = self._run(build_examples(rows, self._lowercase))
        assert isinstance(predictions, AnswerPredictions)
        return predictions

    def _run(self, examples: list[Example]) -> AnyPredictions:
        with _TURN:
            return self._predict(examples)


def load(arm_folder: Path | str) -> LoadedArm:
    """A finished arm, STUDY/arms/ARM, to predict with any number of times.

    Raises: RunError where the folder holds no finished arm or its files were changed; ModelError where the
    base model is missing or has changed.
    """
    return LoadedArm(arm_folder)


def text_examples(arm_folder: Path | str, kind: str, texts: Sequence[str]) -> list[Example]:
    """Texts as items. Raises: DataError where one is empty; RunError where the arm predicts no labels."""
    if kind == "questions":
        do = "Use tuneproof.answer(arm, questions, contexts)."
        raise RunError(str(arm_folder), "answers questions about contexts, not texts alone.", do=do)
    if kind == "answers":
        do = "Use tuneproof.answer(arm, texts)."
        raise RunError(str(arm_folder), "writes answers, and predicts no labels.", do=do)
    return _checked_texts(texts)


def _checked_texts(texts: Sequence[str]) -> list[Example]:
    """Texts as items. Raises: DataError where one is empty, or no text."""
    check_texts("texts", texts)
    empty = [row for row, text in enumerate(texts, 1) if not text.strip()]
    if empty:
        raise empty_texts("row", empty)
    for row, text in enumerate(texts, 1):
        check_whole_characters(f"row {row}", text)
    return [Example(str(row), text.strip(), 0, str(row)) for row, text in enumerate(texts)]


def written_examples(
    arm_folder: Path | str, texts: Sequence[str], contexts: Sequence[str] | None
) -> list[Example]:
    """Texts to answer as items. Raises: DataError where one is empty; RunError where there are contexts."""
    if contexts is not None:
        problem = "answers texts, without contexts."
        raise RunError(str(arm_folder), problem, do="Use answer(texts); put a context into its text.")
    cache = Contexts(lowercase=False)
    return [item_of(f"row {item.id}", item.id, item.text, cache) for item in _checked_texts(texts)]


def question_rows(
    arm_folder: Path | str, kind: str, questions: Sequence[str], contexts: Sequence[str] | None
) -> list[QuestionRow]:
    """Questions as rows. Raises: DataError where they do not pair; RunError where the arm predicts labels."""
    if kind != "questions":
        problem = "predicts labels of texts, not answers to questions."
        raise RunError(str(arm_folder), problem, do="Use tuneproof.predict(arm, texts).")
    if contexts is None:
        raise DataError("contexts", "are missing.", do="Pass one context for each question.")
    check_texts("questions", questions)
    check_texts("contexts", contexts)
    if len(questions) != len(contexts):
        problem = f"{len(questions):,} questions have {len(contexts):,} contexts."
        raise DataError("contexts", problem, do="Pass one context for each question.")
    return [
        QuestionRow(f"question {row}", str(row), "", context, question, (), ())
        for row, (question, context) in enumerate(zip(questions, contexts, strict=True))
    ]


def check_texts(name: str, texts: Sequence[str]) -> None:
    """Raises: DataError where this is no list of texts, or an empty one."""
    if isinstance(texts, str | bytes):
        raise DataError(name, "is one text, not a list of texts.", do=f"Pass a list: [{name}].")
    if len(texts) == 0:
        raise DataError(name, "holds no text.", do="Pass one at least.")
    for row, text in enumerate(texts, 1):
        if not isinstance(text, str):
            problem = f"is a value of the type {type(text).__name__}, not a text."
            raise DataError(f"{name}, row {row}", problem, do="Pass texts alone.")


def empty_texts(where: str, rows: Sequence[int]) -> DataError:
    """The error for rows without text."""
    listed = ", ".join(str(row) for row in rows[:LISTED_ROWS])
    more = ", …" if len(rows) > LISTED_ROWS else ""
    return DataError(f"{where} {listed}{more}", "the text is empty.", do="Fill it in, or remove the row.")
