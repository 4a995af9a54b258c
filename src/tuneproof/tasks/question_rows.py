"""Questions as examples: answers located in their contexts, groups, casing.

In: rows as read, from any kind of file. Out: examples. Knows nothing of: files, columns, splits, models.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tuneproof.errors import DataError
from tuneproof.tasks.contexts import Contexts
from tuneproof.tasks.normalise import normalise_text
from tuneproof.tasks.task import Example, GoldAnswer, Overlap, Question, QuestionPrompt
from tuneproof.tasks.whole_characters import check_whole_characters

LABELS = ("answerable", "unanswerable")
METRICS = (
    *("squad_f1", "squad_exact", "squad_f1_has_answer", "squad_exact_has_answer", "squad_no_answer"),
    *("bleu", "bleu_has_answer", "meteor", "meteor_has_answer"),
    *("rouge1", "rouge1_has_answer", "rouge2", "rouge2_has_answer", "rougeL", "rougeL_has_answer"),
)
NO_ANSWER = "unanswerable"


@dataclass(frozen=True)
class QuestionRow:
    """One question as in its file. `starts` count characters from 0; None if the file gives none.

    `where` names the row for an error; `title` is "" if the source has none.
    """

    where: str
    id: str
    title: str
    context: str
    question: str
    answers: tuple[str, ...]
    starts: tuple[int | None, ...]


def build_examples(rows: Sequence[QuestionRow], lowercase: bool) -> list[Example]:
    """Examples grouped by title or paragraph. Raises: DataError for an empty text or a repeated id."""
    examples: list[Example] = []
    seen: dict[str, str] = {}
    contexts = Contexts(lowercase)
    for row in rows:
        for name, text in (("question", row.question), ("context", row.context)):
            if not text.strip():
                raise DataError(row.where, f"the {name} is empty.", do="Fill it in, or remove the row.")
        check_whole_characters(row.where, (row.id, row.title, row.question, row.answers))
        if row.id in seen:
            problem = f"the id {row.id!r} is also in {seen[row.id]}."
            raise DataError(row.where, problem, do="Make the ids unique.")
        seen[row.id] = row.where
        examples.append(_build_example(row, contexts))
    return examples


def _build_example(row: QuestionRow, contexts: Contexts) -> Example:
    context = contexts.context(row.where, row.context)
    question, answers = contexts.cased(row.question), map(contexts.cased, row.answers)
    golds = tuple(
        contexts.locate(row.where, context, text, start)
        for text, start in zip(answers, row.starts, strict=True)
    )
    text = f"{' '.join(question.split())}\n{context.text}"
    group = row.title or f"paragraph {context.paragraph}"
    gold_question = Question(question.strip(), context.text, golds, context.paragraph)
    return Example(row.id, text, 0 if golds else 1, group, question=gold_question)


def question_to_json(question: Question) -> str:
    """The question, without its context, for a study's items file."""
    golds = [[gold.text, gold.start] for gold in question.golds]
    values = {"question": question.question, "paragraph": question.paragraph, "golds": golds}
    return json.dumps(values, ensure_ascii=False)


def question_from_json(text: str, stored: str) -> Question:
    """The question that `question_to_json` stored, with the context from the item's text."""
    values = json.loads(stored)
    golds = tuple(GoldAnswer(answer, start) for answer, start in values["golds"])
    context = text.partition("\n")[2] if values["question"] else text
    return Question(values["question"], context, golds, values["paragraph"])


def prefix_ids(part: str, rows: Sequence[QuestionRow]) -> list[QuestionRow]:
    """The rows with their part in their ids, for sources without ids."""
    return [replace(row, id=f"{part}-{row.id}") for row in rows]


def find_shared_paragraphs(train_texts: Sequence[str], held_texts: Sequence[str]) -> Overlap:
    """Train items with the paragraph of a held-out item, ignoring case, spaces and punctuation."""
    keys: dict[str, str] = {}

    def paragraph_key(text: str) -> str:
        context = text.partition("\n")[2]
        if context not in keys:
            keys[context] = normalise_text(context)
        return keys[context]

    index_of = {paragraph_key(text): index for index, text in enumerate(train_texts)}
    held_keys = [paragraph_key(text) for text in held_texts]
    held_set = set(held_keys)
    return Overlap(
        leaks_T=np.array([paragraph_key(text) in held_set for text in train_texts], dtype=bool),
        leaked_by_H=np.array([index_of.get(key, -1) for key in held_keys], dtype=np.int64),
        contained_H=np.zeros(len(held_texts), dtype=bool),
    )


def question_prompt(options: Any, labels: Sequence[str]) -> QuestionPrompt:
    """The prompt for a question; it says how to answer if the context holds no answer."""
    return QuestionPrompt(
        instruction="Answer the question with a short piece of the context, word for word. "
        f"If the context does not answer it, say {NO_ANSWER}.",
        template="Context: {context}\nQuestion: {question}\nAnswer:",
        no_answer=NO_ANSWER,
    )
