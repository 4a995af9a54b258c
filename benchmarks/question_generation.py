"""Answers written to questions on paragraphs: ours, transformers' generate, lm-evaluation-harness.

In: questions in SQuAD's format, a decoder of random weights. Out: ratios of process-CPU time.
Knows nothing of: tasks, recipes, accuracy.

    python -m benchmarks questions [--questions FILE.json[.gz]]

The answers must be the same. A quarter of the words end an answer, so that answers of random weights
have lengths like real ones.
"""

import argparse
import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.alternating import row, timed
from benchmarks.stand_ins import common_options, read_texts, small_decoder, word_tokenizer

EACH = 10  # questions a paragraph
BUDGET = 24
ENDS = range(2, 16_384, 4)


def _asked(asked: argparse.Namespace) -> list[str]:
    """Prompts, those on one paragraph together."""
    if asked.questions:
        plain = Path(asked.questions).read_bytes()
        if asked.questions.endswith(".gz"):
            plain = gzip.decompress(plain)
        found = [
            (paragraph["context"], [question["question"] for question in paragraph["qas"]])
            for article in json.loads(plain)["data"]
            for paragraph in article["paragraphs"]
        ]
    else:
        texts = read_texts(None, "")
        found = [
            (" ".join(texts[at : at + 12]), texts[at + 12 : at + 22]) for at in range(0, len(texts) - 22, 22)
        ]
    enough = [(context, questions[:EACH]) for context, questions in found if len(questions) >= EACH]
    return [
        f"Answer from the text alone .\n\nText : {context}\nQuestion : {question}\nAnswer :"
        for context, questions in enough[: asked.items // EACH]
        for question in questions
    ]


def _text(tokenizer: Any, tokens: Sequence[int]) -> str:
    """The words before the first that ends an answer."""
    kept = list(tokens)
    ended = [place for place, token in enumerate(kept) if token in ENDS]
    return str(tokenizer.decode(kept[: ended[0]] if ended else kept, skip_special_tokens=True))


def _generated(model: Any, tokenizer: Any, ids: Sequence[Any], size: int) -> list[str]:
    import torch

    from tuneproof.data.tokens import pad_batch

    answers = []
    for at in range(0, len(ids), size):
        batch = pad_batch(ids[at : at + size], 0, "left")
        with torch.inference_mode():
            out = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                do_sample=False,
                max_new_tokens=BUDGET,
            )
        answers += [_text(tokenizer, new) for new in out[:, batch["input_ids"].shape[1] :].tolist()]
    return answers


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; 1 where answers differ."""
    parser = common_options("questions")
    parser.add_argument("--questions", help="a file in SQuAD's format (default: the demo's texts)")
    parser.set_defaults(items=120)
    asked = parser.parse_args(words)
    import lm_eval
    import torch
    import transformers
    from lm_eval.models.huggingface import HFLM

    from tuneproof.inference.generate import generate_answers
    from tuneproof.models.matmul_backend import choose_matmul

    torch.set_num_threads(1)
    texts = _asked(asked)
    tokenizer = word_tokenizer(texts)
    model = small_decoder(asked.hidden, asked.layers, tied=False)
    model.generation_config.eos_token_id = list(ENDS)
    model.generation_config.pad_token_id = 0
    random.Random(0).shuffle(shuffled := list(texts))
    peer = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=asked.batch, max_length=4096, device="cpu")

    def ids_of(prompts: Sequence[str]) -> list[Any]:
        return [np.array(ids) for ids in tokenizer(list(prompts))["input_ids"]]

    def ours(prompts: Sequence[str]) -> list[str]:
        rows = SimpleNamespace(prompts=ids_of(prompts))
        return generate_answers(model, tokenizer, rows, 0, asked.batch, BUDGET)  # type: ignore[arg-type]

    def generate(prompts: Sequence[str]) -> list[str]:
        return _generated(model, tokenizer, ids_of(prompts), asked.batch)

    def harness(prompts: Sequence[str]) -> list[str]:
        settings = {"until": ["\n\n"], "max_gen_toks": BUDGET, "do_sample": False}
        requests = [SimpleNamespace(args=(prompt, settings)) for prompt in prompts]
        found = peer.generate_until(requests, disable_tqdm=True)
        known = tokenizer.get_vocab()
        return [_text(tokenizer, [known[word] for word in answer.split()]) for answer in found]

    def differing(one: list[str], other: list[str]) -> float:
        return sum(a != b for a, b in zip(one, other, strict=True))

    choose_matmul("cpu", max(map(len, ids_of(texts))))
    answers = ours(texts)
    written = sum(len(answer.split()) + 1 for answer in answers) / len(answers)
    print(
        f"ours against transformers {transformers.__version__} and lm-eval {lm_eval.__version__} (torch "
        f"{torch.__version__}), one thread, process-CPU time, median (spread) of {asked.times} "
        f"alternations; {len(texts)} questions, {EACH} a paragraph, "
        f"{sum(map(len, ids_of(texts))) / len(texts):.0f} tokens a prompt, {written:.1f} an answer, "
        f"batch {asked.batch}, hidden {asked.hidden} x {asked.layers}"
    )
    rows = (
        ("generate, paragraph after paragraph", texts, generate, 4.0),
        ("generate, questions shuffled", shuffled, generate, 4.0),
        ("lm-eval, questions shuffled", shuffled, harness, 3.0),
    )
    agreed = [
        row(
            name,
            asked.times,
            lambda p=prompts: timed(lambda: ours(p)),
            lambda p=prompts, w=way: timed(lambda: w(p)),
            mark,
            differing,
        )
        for name, prompts, way, mark in rows
    ]
    return 0 if all(agreed) else 1
