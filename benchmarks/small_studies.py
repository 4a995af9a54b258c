"""Small studies with real rows and small models for the tests of reliability, and what must be the same.

In: a folder. Out: recipes; a study's results without times.
Knows nothing of: kills, damage.
"""

import csv
import json
import re
from pathlib import Path
from typing import Any

from tuneproof.recipe.recipe import Recipe, recipe_from
from tuneproof.tasks.demo_task import DEMO_RECIPE

SHARED = Path(__file__).parents[1].parent / "shared"
SST2 = SHARED / "data" / "sst2" / "glue_dev.parquet"
STORIES = SHARED / "models" / "stories260k"
TIMES = {
    "time_s",
    "tokens_per_s",
    "time_by_stage_s",
    "items_per_s",
    "memory_bytes",
    "peak_memory_bytes",
    "training_s",
    "memory",
    "training_speed",
    "serving",
    "costs",
    "recommendation",
    "first_reply",
    "last_reply",
}
ROWS = 120
RATE = {"learning_rate": 3e-3}
ARMS: dict[str, list[Any]] = {
    "full": [{"full": RATE}],
    "adapters": ["head", {"lora": {**RATE, "dropout": 0.1}}],
    "generated": ["majority", {"zero-shot": {"scoring": "generate"}}],
    "further": ["majority", "lexical", {"full": RATE}],
    "added": ["majority", "lexical", {"full": RATE}],  # a further test set, to a finished study
    "endpoint": ["majority", {"endpoint": {"model": "stub", "allow": True}}],
}
WITH_TESTS = ("further", "added")
PAID = r" \d+ repl[^.\"]* in the arm's folder and [^.\"]* not paid again\."  # said where a study goes on
SERVER = "server"  # a file that holds the address of the endpoint


def write_rows(folder: Path, name: str = "rows.csv") -> Path:
    """Real rows of SST-2, or those of the embedded demo where they are not there."""
    path = folder / name
    if path.is_file():
        return path
    if SST2.is_file():
        import pyarrow.parquet as pq

        table = pq.read_table(SST2).slice(0, 400).to_pydict()
        names = ("negative", "positive")
        text = "sentence" if "sentence" in table else "text"
        rows = [(t, names[g]) for t, g in zip(table[text], table["label"], strict=True)]
    else:
        lines = (Path(DEMO_RECIPE).parent / "reviews.jsonl").read_text("utf-8").splitlines()
        rows_read = [json.loads(line) for line in lines]
        rows = [(row["text"], row["label"]) for row in rows_read]
    rows = sorted(set(rows), key=lambda row: (len(row[0]), row))[:ROWS]
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def tiny_bert(folder: Path) -> Path:
    """A random BERT of two layers with dropout, and a tokenizer of whole words."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    if (folder / "config.json").is_file():
        return folder
    rows = write_rows(folder.parent).read_text("utf-8")
    word_pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    word_pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    word_pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    word_pieces.train_from_iterator(
        rows.splitlines(),
        trainers.WordPieceTrainer(vocab_size=400, special_tokens=names, show_progress=False),
    )
    word_pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    keys = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=word_pieces, **dict(zip(keys, names, strict=True)))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=256,
        pad_token_id=0,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def model_of(folder: Path, arms: str) -> str:
    """The tiny BERT for full fine-tuning, a real small decoder for the others."""
    if arms in ("full", *WITH_TESTS):
        return str(folder / "bert")
    return str(STORIES) if STORIES.is_dir() else "demo"


def small_study(folder: Path, arms: str, out: str, **sections: Any) -> Recipe:
    """A study of the rows that takes seconds: dropout, accumulation, evaluations within an epoch.

    `make_ready_for` wrote rows and models into the folder before.
    """
    values: dict[str, Any] = {
        "task": {"labels": {"path": str(write_rows(folder)), "text": "text", "label": "label"}},
        "models": [model_of(folder, arms)],
        "arms": ARMS[arms],
        "seeds": [0],
        "split": {"kind": "shares", "shares": [50, 20, 30], "train_size": 32, "test_size": 24},
        "encode": {"max_length": 224},
        "train": {
            "epochs": 1,
            "batch_size": 8,
            "micro_batch": 3,
            "evals_per_epoch": 2,
            "checkpoint_minutes": 0,
        },
        "predict": {"batch_size": 8},
        "compute": {"device": "cpu", "threads": 1},
        "out": str(folder / out),
    }
    if arms in WITH_TESTS:
        values["tests"] = {"new": {"path": str(write_rows(folder, "new.csv"))}}
    if arms == "endpoint":
        majority, endpoint = ARMS[arms]
        url = (folder / SERVER).read_text()
        values["arms"] = [majority, {"endpoint": {**endpoint["endpoint"], "url": url}}]
    for name, section in sections.items():
        values[name] = {**values[name], **section} if isinstance(section, dict) else section
    return recipe_from(values)


def make_ready_for(folder: Path) -> None:
    """Rows and the tiny BERT."""
    write_rows(folder)
    tiny_bert(folder / "bert")


def results_of(folder: Path) -> dict[str, Any]:
    """Everything that must be the same, by file: bytes, or values without times."""
    results: dict[str, Any] = {}
    for pattern in ("arms/*/weights/*.safetensors", "arms/*/*.parquet", "arms/*/scores.json"):
        results |= {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob(pattern)}
    for path in folder.glob("arms/*/steps.jsonl"):
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        results[str(path.relative_to(folder))] = without_times(lines)
    for path in folder.glob("arms/*/arm.json"):
        about = json.loads(path.read_text("utf-8"))
        results[str(path.relative_to(folder))] = {
            key: without_times(about.get(key))
            for key in ("status", "chosen", "prompts", "encoding", "checkpoint")
        }
    for name in ("items.parquet", "splits.json"):
        results[name] = (folder / name).read_bytes()
    for name in ("comparisons.json", "report.json"):  # commands name the folder
        text = re.sub(PAID, "", (folder / name).read_text("utf-8").replace(str(folder), "STUDY"))
        results[name] = without_times(json.loads(text))
    for name in ("report.html", "report.md"):
        results[name] = (folder / name).stat().st_size > 1000
    return results


def without_times(value: Any) -> Any:
    """The value without the keys, and the rows of before and after, that hold times and memory."""
    if isinstance(value, dict):
        return {key: without_times(v) for key, v in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [
            without_times(item)
            for item in value
            if not (isinstance(item, dict) and item.get("name") in TIMES)
        ]
    return value


def unlike(folder: Path, other_folder: Path) -> list[str]:
    """Names of the results that two studies do not share."""
    a, b = results_of(folder), results_of(other_folder)
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
