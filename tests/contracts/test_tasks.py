"""What every task on the shelf keeps, listed or not."""

import importlib
import json
import pkgutil
from collections.abc import Iterable
from itertools import product
from math import ceil
from pathlib import Path

import pytest

import tuneproof.tasks
from tuneproof.data.splits import PARTS, make_splits
from tuneproof.metrics import METRICS
from tuneproof.settings import SplitSettings
from tuneproof.tasks import TASKS
from tuneproof.tasks.task import Task

FIRST, SECOND, THIRD = (
    ("great", "fine", "warm", "dull", "cold", "poor"),
    ("film", "cast", "plot", "song"),
    ("today", "again", "here"),
)
PRIMARY = {
    **dict.fromkeys(("sst2", "imdb", "labels", "demo"), "accuracy"),
    **dict.fromkeys(("squad_v2", "questions", "answers"), "squad_f1"),
}


def sentences(classes: int) -> list[tuple[str, int]]:
    """At least twelve texts for each label, each text once."""
    texts = [" ".join(words) for words in product(FIRST, SECOND, THIRD)]
    rounds = ceil(12 * classes / len(texts))
    texts = [f"{text}{' and on' * more}" for more in range(rounds) for text in texts]
    return [(text, index % classes) for index, text in enumerate(texts)]


def write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    path.write_text("\n".join(json.dumps(row) for row in rows))


def label_rows(task: Task, end: str = "") -> list[dict]:
    """Rows by the task's own columns, labels by their number."""
    text, label = (task.source.text, task.source.label) if task.source else ("text", "label")
    classes = len(task.labels) if task.labels else 2
    return [{text: sentence + end, label: number} for sentence, number in sentences(classes)]


def question_rows(part: str) -> list[dict]:
    """Seventy-two questions of both kinds about as many paragraphs."""
    return [
        {
            "id": f"{part}-{index}",
            "title": f"{part} article {index // 3}",
            "context": f"In {part} {index} they saw {text}.",
            "question": f"What did they see in {part} {index}?",
            "answers": [{"text": text, "answer_start": len(f"In {part} {index} they saw ")}] * answerable,
        }
        for index, (text, answerable) in enumerate(sentences(2))
    ]


def write_squad(path: Path, part: str) -> None:
    """The official format: articles of paragraphs of questions."""
    articles = []
    for row in question_rows(part):
        question = {key: row[key] for key in ("id", "question", "answers")}
        paragraph = {"context": row["context"], "qas": [{**question, "is_impossible": not row["answers"]}]}
        articles.append({"title": row["title"], "paragraphs": [paragraph]})
    path.write_text(json.dumps({"version": "v2.0", "data": articles}))


def write_source(task: Task, folder: Path) -> dict[str, str]:
    """A small copy of what the task reads, made from the task's own data; the options that read it."""
    if "path" not in task.options.model_fields:  # its rows ship with the package
        return {}
    if task.source is None:
        rows = label_rows(task)
        if task.written:
            rows = [{"text": row["text"], "answer": f"It is {row['text']}."} for row in rows]
        elif task.kind == "questions":
            rows = [{**r, "answers": [a["text"] for a in r["answers"]]} for r in question_rows("own")]
        write_jsonl(folder / "own.jsonl", rows)
        return {"path": str(folder / "own.jsonl")}
    for part, names in (("train", task.source.train_files), ("test", task.source.test_files)):
        if task.kind == "questions":
            write_squad(folder / f"{names[0]}.json", part)
        else:
            write_jsonl(folder / f"{names[0]}.jsonl", label_rows(task, " too" * (part == "test")))
    return {"path": str(folder)}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Options with which every task reads without a network."""
    return {name: write_source(task, tmp_path_factory.mktemp(name)) for name, task in TASKS.items()}


@pytest.fixture(params=sorted(TASKS))
def task(request):
    return TASKS[request.param]


@pytest.fixture
def rows(task, options):
    return task.read(task.options(**options[task.name]))


def test_the_shelf_is_the_folder():
    modules = [
        importlib.import_module(f"tuneproof.tasks.{module.name}")
        for module in pkgutil.iter_modules(tuneproof.tasks.__path__)
    ]
    in_folder = {module.TASK.name for module in modules if hasattr(module, "TASK")}
    assert TASKS
    assert set(TASKS) == in_folder
    assert all(name == task.name for name, task in TASKS.items())


def test_ids_are_unique_and_stable(task, rows, options):
    ids = [item.id for items in rows.parts.values() for item in items]
    assert len(ids) == len(set(ids))
    again = task.read(task.options(**options[task.name]))
    assert again == rows


def test_golds_are_known_and_no_text_is_empty(task, rows):
    assert len(rows.labels) >= (1 if task.written else 2)
    for items in rows.parts.values():
        for item in items:
            assert 0 <= item.label < len(rows.labels)
            assert item.text.strip()
            assert item.group


def test_the_parts_have_their_names(rows):
    assert set(rows.parts) == {"all"} or {"train", "test"} <= set(rows.parts) <= set(PARTS)


def test_splits_are_disjoint_by_group_and_by_id(task, rows):
    splits = make_splits(task, rows, SplitSettings(kind="shares", shares=(60, 20, 20)))
    parts = [splits.part(name) for name in PARTS]
    for key in ("id", "group"):
        names = [{getattr(item, key) for item in part} for part in parts]
        assert len(set.union(*names)) == sum(map(len, names))


def test_a_majority_baseline_runs(task, rows):
    splits = make_splits(task, rows, SplitSettings(kind="shares", shares=(60, 20, 20)))
    golds = [item.label for item in splits.train]
    majority = max(range(len(rows.labels)), key=golds.count)
    right = sum(item.label == majority for item in splits.test)
    assert right == len(splits.test) if task.written else 0 < right < len(splits.test)


def test_the_prompt_has_its_holes_and_a_word_for_each_label(task, rows, options):
    prompt = task.prompt(task.options(**options[task.name]), rows.labels)
    if task.written:
        assert (prompt.template.count("{context}"), prompt.no_answer) == (1, "")
        return
    if task.kind == "questions":
        assert prompt.template.count("{context}") == prompt.template.count("{question}") == 1
        assert prompt.no_answer in prompt.instruction
        return
    assert prompt.template.count("{text}") == prompt.cloze.count("{text}") == 1
    assert prompt.cloze.count("{mask}") == 1
    assert len(set(prompt.words)) == len(set(prompt.cloze_words)) == len(rows.labels)


def test_a_task_names_its_source_and_metrics(task, rows):
    assert task.version >= 1
    for text in (task.title, task.paper, task.licence, rows.source["name"], rows.source["licence"]):
        assert text
    assert {METRICS[name].kind for name in task.metrics} == {task.kind}
    primary = METRICS[task.metrics[0]]
    assert primary.needs == "predicted"
    assert primary.direction == "up"
    assert not primary.binary_only
    assert PRIMARY.get(task.name, primary.name) == primary.name
    assert task.labels is None or task.labels == rows.labels
    for name, setting in task.options.model_fields.items():
        assert setting.description, f"{task.name}.{name} has no description"


def test_the_overlap_rule_finds_a_text_in_itself(task, rows):
    texts = [item.text for item in next(iter(rows.parts.values()))][:20]
    if task.overlaps is None:
        pytest.skip("equality of the normalised texts is this task's rule")
    overlap = task.overlaps(texts, texts)
    assert overlap.leaks_T.all()
    assert (overlap.leaked_by_H >= 0).all()
