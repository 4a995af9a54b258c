"""What benchmarks against peers have in common: texts as tokens, a small decoder, turns taken.

In: texts, two ways to do the same. Out: token ids, a model, a ratio of process-CPU times.
Knows nothing of: the peers.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

WORDS = 16_384
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")


def read_texts(file: str | None, column: str) -> list[str]:
    """A column of a Parquet file; without one, the demo's texts."""
    if file:
        import pyarrow.parquet as pq

        return [str(text) for text in pq.read_table(file)[column].to_pylist()]
    from tuneproof.tasks.demo_task import DemoOptions, read

    return [example.text for example in read(DemoOptions()).parts["train"]]


def word_tokenizer(texts: Sequence[str]) -> Any:
    """A fast tokenizer whose tokens are the texts' most frequent words, digits and signs apart."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits()])
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in split.pre_tokenize_str(text))
    words = [word for word, _ in counts.most_common(WORDS - len(SPECIAL)) if word not in SPECIAL]
    words += [f"word{place}" for place in range(len(SPECIAL) + len(words), WORDS)]
    vocabulary = {word: place for place, word in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        unk_token="<unk>",
    )  # fmt: skip


def small_decoder(hidden: int, layers: int, tied: bool = True) -> Any:
    """A Llama of random weights with the proportions of Llama 3.2 1B and 16k words.

    Without tied embeddings what it writes is not what it read last.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=hidden, num_hidden_layers=layers, intermediate_size=4 * hidden,
        num_attention_heads=hidden // 64, num_key_value_heads=max(1, hidden // 256),
        max_position_embeddings=4096, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        tie_word_embeddings=tied, initializer_range=0.05,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Process-CPU seconds, and what came out."""
    begun = time.process_time()
    found = work()
    return time.process_time() - begun, found


def alternate(
    name: str,
    times: int,
    mark: float,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    differ: Callable[[Any, Any], str],
) -> bool:
    """Take turns, print the ratio with its spread and the mark; false where results differ.

    differ: says how results differ, "" where they agree.
    """
    ratios, spent = [], []
    said = ""
    for turn in range(times):
        first, second = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        found = {first: timed(first), second: timed(second)}
        ratios.append(found[theirs][0] / found[ours][0])
        spent.append((found[ours][0], found[theirs][0]))
        said = said or differ(found[ours][1], found[theirs][1])
    ratio = statistics.median(ratios)
    mine, other = (statistics.median(side) for side in zip(*spent, strict=True))
    print(
        f"{name:<56}{ratio:6.2f}x  ({min(ratios):.2f} to {max(ratios):.2f}), to reach {mark:g}"
        f"{'' if ratio >= mark else ' (*)'}; {mine:.2f} s, {other:.2f} s{'; ' + said if said else ''}",
        flush=True,
    )
    return not said


def common_options(name: str) -> argparse.ArgumentParser:
    """The options that benchmarks against peers share."""
    parser = argparse.ArgumentParser(prog=f"benchmarks {name}")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--times", type=int, default=5)
    return parser
