"""What is fuzzed: any bytes end in a value or in a TuneproofError, never in another exception.

In: bytes. Out: nothing, or the exception that is a finding. Knows nothing of: who makes the bytes.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tuneproof.errors import TuneproofError
from tuneproof.inference.parse import parse_answer, parse_question_answer
from tuneproof.metrics.metric import UNPARSED
from tuneproof.recipe.recipe import read_recipe, recipe_from
from tuneproof.tasks import labels, questions

ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".json.gz")
FOLDER = "FUZZ_FOLDER"  # of a process that libFuzzer ends before it can remove its own
SHARED_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
HERE = Path(tempfile.mkdtemp(prefix="fuzz-", dir=os.environ.get(FOLDER, SHARED_MEMORY)))
atexit.register(shutil.rmtree, HERE, ignore_errors=True)


def recipe_text(data: bytes) -> None:
    """A recipe's file; what is read must be written and read back to itself."""
    file = HERE / "recipe.yaml"
    file.write_bytes(data)
    try:
        recipe = read_recipe(file)
    except TuneproofError as error:
        says_something(error)
        return
    file.write_text(recipe.text(), "utf-8")
    assert read_recipe(file) == recipe
    assert recipe_from(recipe.values()) == recipe


def own_file(data: bytes) -> None:
    """An own file; the first byte chooses the ending and the task, the rest is the file."""
    if not data:
        return
    ending = ENDINGS[data[0] % len(ENDINGS)]
    file = HERE / f"own{ending}"
    file.write_bytes(data[1:])
    task, options = (
        (labels, labels.LabelsOptions(path=str(file), drop_empty=bool(data[0] & 64)))
        if data[0] < 128
        else (questions, questions.QuestionsOptions(path=str(file)))
    )
    try:
        rows = task.read(options)
    except TuneproofError as error:
        says_something(error)
        return
    for items in rows.parts.values():
        assert len({item.id for item in items}) == len(items)
        assert all(0 <= item.label < len(rows.labels) for item in items)


def answer(data: bytes) -> None:
    """A model's answer and the words of the labels, in lines."""
    text = data.decode("utf-8", "surrogateescape")
    words, _, said = text.partition("\x00")
    names = [word for word in words.split("\x01") if word.strip()][:8] or ["yes", "no"]
    found = parse_answer(said, names)
    assert found == UNPARSED or 0 <= found < len(names)
    if found != UNPARSED:
        assert " ".join(names[found].casefold().split()) in " ".join(said.casefold().split())
    short = parse_question_answer(said, names[0])
    assert short == "" or short == " ".join(said.split())
    assert parse_answer(names[0], names[:1]) in (0, UNPARSED)


def says_something(error: TuneproofError) -> None:
    """An error has its sentence, and no end is missing to it."""
    assert error.problem.strip()
    assert len(str(error)) < 60_000


TARGETS: dict[str, Callable[[bytes], None]] = {"recipe": recipe_text, "own_file": own_file, "answer": answer}
