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

PER_PARAGRAPH = 10  # questions a paragraph
BUDGET = 24
ENDS = range(2, 16_384, 4)


def _questions(options: argparse.Namespace) -> list[str]:
    """Prompts, those on one paragraph together."""
    if options.questions:
        plain = Path(options.questions).read_bytes()
        if options.questions.endswith(".gz"):
            plain = gzip.decompress(plain)
        paragraphs = [
            (paragraph["context"], [question["question"] for question in paragraph["qas"]])
            for article in json.loads(plain)["data"]
            for paragraph in article["paragraphs"]
        ]
    else:
        texts = read_texts(None, "")
        paragraphs = [
            (" ".join(texts[at : at + 12]), texts[at + 12 : at + 22]) for at in range(0, len(texts) - 22, 22)
        ]
    enough = [
        (context, questions[:PER_PARAGRAPH])
        for context, questions in paragraphs
        if len(questions) >= PER_PARAGRAPH
    ]
    return [
        f"Answer from the text alone .\n\nText : {context}\nQuestion : {question}\nAnswer :"
        for context, questions in enough[: options.items // PER_PARAGRAPH]
        for question in questions
    ]


def _text(tokenizer: Any, tokens: Sequence[int]) -> str:
    """The words before the first that ends an answer."""
    ids = list(tokens)
    ended = [index for index, token in enumerate(ids) if token in ENDS]
    return str(tokenizer.decode(ids[: ended[0]] if ended else ids, skip_special_tokens=True))


def generated_tokens(
    model: Any, ids: Sequence[Any], size: int, new_tokens: int, device: str = "cpu"
) -> list[list[int]]:
    """The tokens that transformers' `generate` writes after each prompt, `size` prompts at a time."""
    import torch

    from tuneproof.data.tokens import pad_batch

    answers: list[list[int]] = []
    for at in range(0, len(ids), size):
        batch = pad_batch(ids[at : at + size], 0, "left")
        with torch.inference_mode():
            out = model.generate(
                input_ids=batch["input_ids"].to(device),
                attention_mask=batch["attention_mask"].to(device),
                do_sample=False,
                max_new_tokens=new_tokens,
            )
        answers += out[:, batch["input_ids"].shape[1] :].tolist()
    return answers


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where answers differ."""
    parser = common_options("questions")
    parser.add_argument("--questions", help="a file in SQuAD's format (default: the demo's texts)")
    parser.set_defaults(items=120)
    options = parser.parse_args(arguments)
    import lm_eval
    import torch
    import transformers
    from lm_eval.models.huggingface import HFLM

    from tuneproof.inference.generate import generate_answers
    from tuneproof.models.matmul_backend import choose_matmul
    from tuneproof.models.oom import AdaptiveBatchSize

    torch.set_num_threads(1)
    texts = _questions(options)
    tokenizer = word_tokenizer(texts)
    model = small_decoder(options.hidden, options.layers, tied=False)
    model.generation_config.eos_token_id = list(ENDS)
    model.generation_config.pad_token_id = 0
    random.Random(0).shuffle(shuffled := list(texts))
    peer = HFLM(
        pretrained=model, tokenizer=tokenizer, batch_size=options.batch, max_length=4096, device="cpu"
    )

    def ids_of(prompts: Sequence[str]) -> list[Any]:
        return [np.array(ids) for ids in tokenizer(list(prompts))["input_ids"]]

    def ours(prompts: Sequence[str]) -> list[str]:
        rows: Any = SimpleNamespace(prompt_ids=ids_of(prompts))
        return generate_answers(model, tokenizer, rows, 0, AdaptiveBatchSize(options.batch), BUDGET)

    def generate(prompts: Sequence[str]) -> list[str]:
        answers = generated_tokens(model, ids_of(prompts), options.batch, BUDGET)
        return [_text(tokenizer, tokens) for tokens in answers]

    def harness(prompts: Sequence[str]) -> list[str]:
        settings = {"until": ["\n\n"], "max_gen_toks": BUDGET, "do_sample": False}
        requests = [SimpleNamespace(args=(prompt, settings)) for prompt in prompts]
        answers = peer.generate_until(requests, disable_tqdm=True)
        vocabulary = tokenizer.get_vocab()
        return [_text(tokenizer, [vocabulary[word] for word in answer.split()]) for answer in answers]

    def differing(a_texts: list[str], b_texts: list[str]) -> float:
        return sum(a != b for a, b in zip(a_texts, b_texts, strict=True))

    choose_matmul("cpu", max(map(len, ids_of(texts))))
    answers = ours(texts)
    written = sum(len(answer.split()) + 1 for answer in answers) / len(answers)
    print(
        f"ours against transformers {transformers.__version__} and lm-eval {lm_eval.__version__} (torch "
        f"{torch.__version__}), one thread, process-CPU time, median (spread) of {options.times} "
        f"alternations; {len(texts)} questions, {PER_PARAGRAPH} a paragraph, "
        f"{sum(map(len, ids_of(texts))) / len(texts):.0f} tokens a prompt, {written:.1f} an answer, "
        f"batch {options.batch}, hidden {options.hidden} x {options.layers}"
    )
    rows = (
        ("generate, paragraph after paragraph", texts, generate, 4.0),
        ("generate, questions shuffled", shuffled, generate, 4.0),
        ("lm-eval, questions shuffled", shuffled, harness, 3.0),
    )
    agreed = [
        row(
            name,
            options.times,
            lambda p=prompts: timed(lambda: ours(p)),
            lambda p=prompts, w=answer_with: timed(lambda: w(p)),
            mark,
            differing,
        )
        for name, prompts, answer_with, mark in rows
    ]
    return 0 if all(agreed) else 1
