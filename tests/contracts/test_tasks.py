"""What every task on the shelf keeps, listed or not."""

import importlib
import json
import pkgutil
from pathlib import Path

import pytest

import tuneproof.tasks
from tuneproof.data.splits import PARTS, make_splits
from tuneproof.metrics import METRICS
from tuneproof.settings import SplitSettings
from tuneproof.tasks import TASKS

SENTENCES = [
    (f"{a} {b} {c}", a in ("great", "fine", "warm"))
    for a in ("great", "fine", "warm", "dull", "cold", "poor")
    for b in ("film", "cast", "plot", "song")
    for c in ("today", "again", "here")
]


def write(path: Path, column: str, end: str = "") -> None:
    lines = (json.dumps({column: text + end, "label": int(label)}) for text, label in SENTENCES)
    path.write_text("\n".join(lines))


def asked(part: str) -> list[dict]:
    """Seventy-two questions of both kinds about as many paragraphs."""
    return [
        {
            "id": f"{part}-{number}",
            "title": f"{part} article {number // 3}",
            "context": f"In {part} {number} they saw {text}.",
            "question": f"What did they see in {part} {number}?",
            "answers": [{"text": text, "answer_start": len(f"In {part} {number} they saw ")}] if can else [],
        }
        for number, (text, can) in enumerate(SENTENCES)
    ]


def write_squad(path: Path, part: str) -> None:
    articles = [
        {
            "title": row["title"],
            "paragraphs": [
                {
                    "context": row["context"],
                    "qas": [
                        {
                            "id": row["id"],
                            "question": row["question"],
                            "answers": row["answers"],
                            "is_impossible": not row["answers"],
                        }
                    ],
                }
            ],
        }
        for row in asked(part)
    ]
    path.write_text(json.dumps({"version": "v2.0", "data": articles}))


def write_questions(path: Path) -> None:
    rows = [{**row, "answers": [a["text"] for a in row["answers"]]} for row in asked("own")]
    path.write_text("\n".join(json.dumps(row) for row in rows))


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Options with which every task reads without a network; a new task adds its line."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, column in (("sst2", "sentence"), ("imdb", "text")):
        (folder / name).mkdir()
        write(folder / name / "train.jsonl", column)
        write(folder / name / ("test.jsonl" if name == "imdb" else "dev.jsonl"), column, " too")
    write(folder / "own.jsonl", "text")
    (folder / "squad_v2").mkdir()
    write_squad(folder / "squad_v2" / "train-v2.0.json", "train")
    write_squad(folder / "squad_v2" / "dev-v2.0.json", "dev")
    write_questions(folder / "questions.jsonl")
    return {
        "sst2": {"path": str(folder / "sst2")},
        "imdb": {"path": str(folder / "imdb")},
        "labels": {"path": str(folder / "own.jsonl")},
        "squad_v2": {"path": str(folder / "squad_v2")},
        "questions": {"path": str(folder / "questions.jsonl")},
        "demo": {},
    }


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


def test_golds_are_known_and_no_text_is_empty(rows):
    assert len(rows.labels) >= 2
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
    assert 0 < right < len(splits.test)


def test_the_prompt_has_its_holes_and_a_word_for_each_label(task, rows, options):
    prompt = task.prompt(task.options(**options[task.name]), rows.labels)
    if task.kind == "questions":
        assert prompt.template.count("{context}") == prompt.template.count("{question}") == 1
        assert prompt.no_answer in prompt.instruction
        return
    assert prompt.template.count("{text}") == prompt.cloze.count("{text}") == 1
    assert prompt.cloze.count("{mask}") == 1
    assert len(set(prompt.words)) == len(set(prompt.cloze_words)) == len(rows.labels)


def test_every_task_says_what_it_is(task, rows):
    assert task.version >= 1
    for said in (task.title, task.paper, task.licence, rows.source["name"], rows.source["licence"]):
        assert said
    assert task.metrics[0] == {"labels": "accuracy", "questions": "squad_f1"}[task.kind]
    assert {METRICS[name].kind for name in task.metrics} == {task.kind}
    for name, setting in task.options.model_fields.items():
        assert setting.description, f"{task.name}.{name} has no description"


def test_the_overlap_rule_finds_a_text_in_itself(task, rows):
    texts = [item.text for item in next(iter(rows.parts.values()))][:20]
    if task.overlaps is None:
        pytest.skip("equality of the normalised texts is this task's rule")
    found = task.overlaps(texts, texts)
    assert found.gives_T.all()
    assert (found.given_by_H >= 0).all()
