"""Files of adapters, models, studies and questions, each read as a user's command reads it.

In: bytes, of which the first chooses the file. Out: nothing, or the exception that is a finding.
Knows nothing of: who makes the bytes.
"""

import contextlib
import copy
import io
import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from tests.arms.small import small_recipe
from tests.fuzz.targets import HERE, says_something
from tests.models.test_adapter import adapter_of, base_on_meta
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.cli.main import COMMANDS
from tuneproof.cli.parser import make_parser
from tuneproof.data.audit import audit_splits
from tuneproof.data.splits import make_splits
from tuneproof.errors import TuneproofError
from tuneproof.models.adapter import ADAPTER_WEIGHTS, check_adapter
from tuneproof.models.adapter_config import ADAPTER_CONFIG
from tuneproof.settings import SplitSettings
from tuneproof.study.plan import check
from tuneproof.tasks import questions

MODELS = ("llama", "bert", "gpt2")
ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
CONFIGURATION_FILES = ("config.json", "generation_config.json")
TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "vocab.txt")
QUESTION_ENDINGS = (".json", ".jsonl", ".parquet", ".csv")
OTHER_ADAPTERS = ("IA3Config", "VeraConfig", "PromptTuningConfig", "PrefixTuningConfig", "LoHaConfig")


@contextlib.contextmanager
def _allowed() -> Iterator[None]:
    """An error of the project, or of the operating system, whose sentence the command line prints."""
    try:
        yield
    except TuneproofError as error:
        says_something(error)
    except OSError:
        pass


@cache
def model(kind: str) -> Path:
    """A tiny model of this type."""
    return tiny_model(HERE / "models" / kind, kind, chat=kind == "llama")


@cache
def saved_adapter() -> tuple[Path, Any]:
    """An adapter as an arm saves it, and its base without weights."""
    (HERE / "arm").mkdir()
    return adapter_of(HERE / "arm", "llama"), base_on_meta(HERE / "arm" / "llama")


def adapter(data: bytes) -> None:
    """An adapter's configuration or its weights."""
    folder, base = saved_adapter()
    path = folder / ADAPTER_FILES[data[0] % len(ADAPTER_FILES)]
    before = path.read_bytes()
    path.write_bytes(data[1:])
    try:
        with _allowed():
            check_adapter(folder, copy.deepcopy(base))
    finally:
        path.write_bytes(before)


def adapter_seeds() -> list[bytes]:
    """What an arm saves, and configurations of other kinds."""
    import peft

    folder = saved_adapter()[0]
    seeds = [bytes([index]) + (folder / name).read_bytes() for index, name in enumerate(ADAPTER_FILES)]
    for name in OTHER_ADAPTERS:
        getattr(peft, name)(task_type="SEQ_CLS").save_pretrained(HERE / "other")
        seeds.append(b"\x00" + (HERE / "other" / ADAPTER_CONFIG).read_bytes())
    return seeds


def model_file(names: Sequence[str], data: bytes) -> None:
    """One of these files of a model; vocab.txt in place of tokenizer.json."""
    kind = MODELS[data[0] // len(names) % len(MODELS)]
    name, folder = names[data[0] % len(names)], HERE / "tried"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model(kind), folder)
    if name == "vocab.txt":
        (folder / "tokenizer.json").unlink()
    (folder / name).write_bytes(data[1:])
    with _allowed():
        check(small_recipe(HERE, [folder], ["head", "lora", *(["zero-shot"] if kind != "bert" else [])]))


def model_seeds(names: Sequence[str]) -> list[bytes]:
    """These files of every tiny model."""
    seeds = []
    for start, kind in enumerate(MODELS):
        vocabulary = json.loads((model(kind) / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
        for index, name in enumerate(names):
            path = model(kind) / name
            data = path.read_bytes() if path.exists() else b'{"eos_token_id": 2}'
            data = "\n".join(vocabulary).encode() if name == "vocab.txt" else data
            seeds.append(bytes([start * len(names) + index]) + data)
    return seeds


@cache
def finished_study() -> tuple[Path, list[Path]]:
    """A finished study with a tuned arm, and one of each of its JSON files and its recipe."""
    (HERE / "studies").mkdir()
    claim = {"arm": "lora", "over": "lexical", "metric": "accuracy"}
    arms = ["majority", "lexical", "zero-shot", {"lora": {"rank": 2}}]
    recipe = small_recipe(HERE / "studies", [model("llama")], arms, claim=claim, train_sizes=[16])
    run_recorded(recipe)
    folder = Path(recipe.out)
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*.*"))]
    read = [
        path for path in paths if path.suffix in (".json", ".jsonl", ".yaml") and "weights" not in path.parts
    ]
    return folder, list({(path.name, "lora" in str(path)): path for path in read}.values())


def study_file(data: bytes) -> None:
    """A file of a finished study that one of report, compare and plan reads; the bytes choose which."""
    folder, paths = finished_study()
    work = HERE / "reported"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(folder, work, ignore=shutil.ignore_patterns("weights", "cache", "report.html"))
    (work / paths[data[0] % len(paths)]).write_bytes(data[1:])
    arms = sorted(map(str, (work / "arms").iterdir()))
    commands = [["report", str(work)], ["plan", str(work)], ["compare", arms[0], arms[-1]]]
    commands += [["compare", str(work), str(folder)]]
    args = make_parser().parse_args(commands[zlib.crc32(data) % len(commands)])
    with _allowed(), contextlib.redirect_stdout(io.StringIO()):
        COMMANDS[args.command](args)


def study_seeds() -> list[bytes]:
    """Every file of the study."""
    folder, paths = finished_study()
    return [bytes([index]) + (folder / path).read_bytes() for index, path in enumerate(paths)]


def question_file(data: bytes) -> None:
    """A file of questions, read, split and audited."""
    file = HERE / f"questions{QUESTION_ENDINGS[data[0] % len(QUESTION_ENDINGS)]}"
    file.write_bytes(data[1:])
    with _allowed():
        rows = questions.read(questions.QuestionsOptions(path=str(file), lowercase=bool(data[0] & 64)))
        assert all(len({item.id for item in items}) == len(items) for items in rows.parts.values())
        settings = SplitSettings(kind="shares", shares=(60, 20, 20))
        audit_splits(questions.TASK, make_splits(questions.TASK, rows, settings))


def question_seeds() -> list[bytes]:
    """SQuAD's JSON, and tables of the same questions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    articles, rows = [], []
    for n in range(8):
        answer = {"text": str(1060 + n), "answer_start": 10}
        asked = {"id": f"a{n}", "question": "When?", "answers": [answer]}
        other = {"id": f"b{n}", "question": "Who?", "answers": [], "is_impossible": True}
        context = f"It was in {1060 + n}, said Ann {n}."
        articles.append({"title": f"t{n}", "paragraphs": [{"context": context, "qas": [asked, other]}]})
        answers = {key: [value] for key, value in answer.items()}
        rows.append({"question": "When?", "context": context, "answers": answers})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    squad = json.dumps({"version": "v2.0", "data": articles}).encode()
    lines = "\n".join(map(json.dumps, rows)).encode()
    return [
        b"\x00" + squad,
        b"\x00" + json.dumps(rows).encode(),
        b"\x01" + lines,
        b"\x02" + bytes(sink.getvalue()),
    ]


FILES: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "adapter": (adapter, adapter_seeds),
    "configuration": (partial(model_file, CONFIGURATION_FILES), partial(model_seeds, CONFIGURATION_FILES)),
    "tokenizer": (partial(model_file, TOKENIZER_FILES), partial(model_seeds, TOKENIZER_FILES)),
    "study": (study_file, study_seeds),
    "questions": (question_file, question_seeds),
}
