"""Models of true shape with random weights, and rows for them to read: nothing is fetched.

In: a name, a folder. Out: a folder that loads like a real model; files of reviews and of questions.
Knows nothing of: what is checked, devices.
"""

import csv
import json
import random
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from benchmarks.stand_ins import word_tokenizer

WORDS_OF = {  # what tells a label
    "negative": "bad awful dull poor weak cold boring broken slow clumsy",
    "positive": "good great fine lovely superb warm funny moving bright charming",
}
PLAIN = (
    "the a film plot actor scene story music end night day man woman city house road in on of and with was "
    "is it that this he she they we you not very so then when where who what how"
)
PROMPTS = (
    "Review Sentiment Question Context Context Answer answer Text Label Is Decide Read Reply Possible labels "
    "whether passage says if it does not say unanswerable negative positive or no none N A from only given "
    "review question text label terrible : . , ? ! ( ) - / ' \" \\"
)
RARE = [f"w{first}{second}" for first in ascii_lowercase for second in ascii_lowercase]
SMALL_WORDS = 2048
# the sizes of a CPU form, by transformers' names: a configuration takes those that it has
SMALL: dict[str, Any] = {
    "vocab_size": SMALL_WORDS,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "dim": 64,
    "hidden_dim": 128,
    "n_layers": 2,
    "n_heads": 4,
}
# a few million weights, where the size is not what counts
LITTLE: dict[str, Any] = {
    "vocab_size": SMALL_WORDS,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
}
WINDOW = {"sliding_window": 32, "tie_word_embeddings": True}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # devices draw differently
# name: the model of the catalog whose published configuration it has, what differs
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "distilbert": ("distilbert", {}),
    "llama-1b": ("llama-3.2-1b", {}),
    "bert-little": ("bert", {**LITTLE, **NO_DROPOUT}),
    "llama-little": ("llama-3.2-1b", LITTLE),
    "gemma2-little": ("gemma-2-2b", {**LITTLE, **WINDOW}),
    "mistral-little": ("mistral-7b", {**LITTLE, **WINDOW}),
}
LARGE = ("llama-1b",)  # stored in bfloat16, as published; the others in float32


def model_folder(name: str, root: Path, small: bool) -> Path:
    """A model and its tokenizer, written once. small: of SMALL's sizes."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    from tuneproof.models.quiet import quiet

    folder = root / name
    if (folder / "model.safetensors").is_file():
        return folder
    config = config_of(name, small)
    is_encoder = "MaskedLM" in config.architectures[0]
    auto: Any = AutoModelForMaskedLM if is_encoder else AutoModelForCausalLM
    torch.manual_seed(0)
    kind = "encoder" if is_encoder else "decoder"
    words = [" ".join([PROMPTS, PLAIN, *WORDS_OF, *WORDS_OF.values(), *RARE])]
    with quiet():
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = auto.from_config(config, dtype=torch.float32)
        word_tokenizer(words, config.vocab_size, kind).save_pretrained(folder)
        model.to(torch.bfloat16 if name in LARGE else torch.float32).save_pretrained(folder)
    return folder


def config_of(name: str, small: bool) -> Any:
    """The published configuration, with the ids of the stand-in's own tokens."""
    from transformers import AutoConfig

    from tuneproof.families.published import CONFIGS

    published, changes = SHAPES[name]
    values = {**CONFIGS[published].values, **changes}
    if small:
        values |= {key: size for key, size in SMALL.items() if key in values}
    values |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return AutoConfig.for_model(values.pop("model_type"), **values)


def _words(draw: random.Random, label: str, count: int) -> list[str]:
    """Words without a sense, one in twelve of which tells the label."""
    plain, telling = PLAIN.split(), WORDS_OF[label].split()
    words = [draw.choice(plain if draw.random() < 0.8 else RARE) for _ in range(count)]
    for _ in range(max(1, count // 12)):
        words[draw.randrange(count)] = draw.choice(telling)
    return words


def write_reviews(path: Path, rows: int, shortest: int, longest: int) -> Path:
    """Labelled reviews of `shortest` to `longest` words, no two alike; written once."""
    if path.is_file():
        return path
    draw = random.Random(0)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("review", "sentiment"))
        for row in range(rows):
            label = tuple(WORDS_OF)[row % 2]
            words = _words(draw, label, draw.randint(shortest, longest))
            writer.writerow((" ".join(words), label))
    return path


def write_questions(path: Path, rows: int, words: int) -> Path:
    """Questions on texts of so many words, a third of them without an answer; written once."""
    if path.is_file():
        return path
    draw = random.Random(1)
    with open(path, "w", encoding="utf-8") as file:
        for row in range(rows):
            context = _words(draw, "positive", words)
            at, answer = draw.randrange(4, words - 4), RARE[row % len(RARE)]
            context[at - 1 : at + 1] = ["who", answer]
            text = " ".join(context)
            answers = (
                {"text": [answer], "answer_start": [text.index(f"who {answer}") + 4]} if row % 3 else None
            )
            question = f"who was in the {draw.choice(PLAIN.split())} of {draw.choice(RARE)} ?"
            values = {
                "question": question,
                "context": text,
                "answers": answers or {"text": [], "answer_start": []},
            }
            file.write(json.dumps(values) + "\n")
    return path
