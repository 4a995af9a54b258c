"""Questions as examples: answers found in their contexts, groups, casing, balance.

In: rows as they were read, from whichever kind of file. Out: examples, and what was left out.
Knows nothing of: files, columns, splits, models.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tuneproof.errors import DataError
from tuneproof.tasks.normalise import normalised
from tuneproof.tasks.task import Example, Gold, Overlap, Question, QuestionPrompt

LABELS = ("answerable", "unanswerable")
METRICS = (
    "squad_f1",
    "squad_exact",
    "squad_f1_has_answer",
    "squad_exact_has_answer",
    "squad_no_answer",
    "bleu",
    "bleu_has_answer",
    "meteor",
    "meteor_has_answer",
    "rouge1",
    "rouge1_has_answer",
    "rouge2",
    "rouge2_has_answer",
    "rougeL",
    "rougeL_has_answer",
)
NO_ANSWER = "unanswerable"


@dataclass(frozen=True)
class QuestionRow:
    """One question as a file has it. `starts` are characters from 0, None where none is given.

    `where` names the row for an error; `title` is "" where the source has none.
    """

    where: str
    id: str
    title: str
    context: str
    question: str
    answers: tuple[str, ...]
    starts: tuple[int | None, ...]


def lower(text: str) -> str:
    """The text in lower case, every character in its place (İ, which would become two, stays)."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(small if len(small := char.lower()) == 1 else char for char in text)


def examples_of(rows: Sequence[QuestionRow], lowercase: bool) -> list[Example]:
    """The rows as examples; groups are the titles, or the paragraphs where there is none.

    Raises: DataError for an empty question or context, and for an id that stands twice.
    """
    made: list[Example] = []
    seen: dict[str, str] = {}
    for row in rows:
        for what, text in (("question", row.question), ("context", row.context)):
            if not text.strip():
                raise DataError(row.where, f"the {what} is empty.", do="Fill it in, or take the row out.")
        if row.id in seen:
            raise DataError(
                row.where, f"the id {row.id!r} also stands in {seen[row.id]}.", do="Make the ids unique."
            )
        seen[row.id] = row.where
        made.append(_example(row, lowercase))
    return made


def _example(row: QuestionRow, lowercase: bool) -> Example:
    question, context, answers = row.question, row.context, row.answers
    if lowercase:
        question, context = lower(question), lower(context)
        answers = tuple(lower(answer) for answer in answers)
    golds = tuple(_gold(context, text, start) for text, start in zip(answers, row.starts, strict=True))
    paragraph = hashlib.sha256(context.encode()).hexdigest()[:12]
    asked = Question(question.strip(), context, golds, paragraph)
    return Example(
        id=row.id,
        text=f"{' '.join(question.split())}\n{context}",
        label=0 if golds else 1,
        group=row.title or f"paragraph {paragraph}",
        question=asked,
    )


def _gold(context: str, text: str, start: int | None) -> Gold:
    """The answer where it stands: as given, else at the nearest place."""
    if start is not None and start >= 0 and context.startswith(text, start):
        return Gold(text, start, "given")
    places = []
    at = context.find(text)
    while at >= 0:
        places.append(at)
        at = context.find(text, at + 1)
    if not places:
        return Gold(text, -1, "absent")
    if start is None:
        return Gold(text, places[0], "searched")
    return Gold(text, min(places, key=lambda place: abs(place - start)), "moved")


def asked_json(asked: Question) -> str:
    """The question, without its context, for a study's items file."""
    golds = [[gold.text, gold.start] for gold in asked.golds]
    values = {"question": asked.question, "paragraph": asked.paragraph, "golds": golds}
    return json.dumps(values, ensure_ascii=False)


def asked_from(text: str, stored: str) -> Question:
    """What `asked_json` stored, with the context from the item's text."""
    values = json.loads(stored)
    golds = tuple(Gold(answer, start) for answer, start in values["golds"])
    return Question(values["question"], text.partition("\n")[2], golds, values["paragraph"])


def renamed(part: str, rows: Sequence[QuestionRow]) -> list[QuestionRow]:
    """Rows whose ids name their part, for sources that have none of their own."""
    return [replace(row, id=f"{part}-{row.id}") for row in rows]


def same_paragraph(train: Sequence[str], held: Sequence[str]) -> Overlap:
    """Train items whose paragraph is a held-out item's, case, spaces and punctuation apart."""
    known: dict[str, str] = {}

    def key(text: str) -> str:
        context = text.partition("\n")[2]
        if context not in known:
            known[context] = normalised(context)
        return known[context]

    place = {key(text): index for index, text in enumerate(train)}
    held_keys = [key(text) for text in held]
    wanted = set(held_keys)
    return Overlap(
        gives_T=np.array([key(text) in wanted for text in train], dtype=bool),
        given_by_H=np.array([place.get(name, -1) for name in held_keys], dtype=np.int64),
        piece_H=np.zeros(len(held), dtype=bool),
    )


def question_prompt(options: Any, labels: Sequence[str]) -> QuestionPrompt:
    """The words around a question, with the way to say that it has no answer."""
    return QuestionPrompt(
        instruction="Answer the question with a short piece of the context, word for word. "
        f"If the context does not answer it, say {NO_ANSWER}.",
        template="Context: {context}\nQuestion: {question}\nAnswer:",
        no_answer=NO_ANSWER,
    )
