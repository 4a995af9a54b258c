"""What stands in for real texts and models in benchmarks: tokens that are words, a small decoder.

In: texts. Out: token ids, a tokenizer, a model of random weights.
Knows nothing of: the peers, clocks.
"""

import argparse
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

WORDS = 16_384
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")


def read_texts(file: str | None, column: str) -> list[str]:
    """A column of a Parquet file; without one, the demo's texts."""
    if file:
        import pyarrow.parquet as pq

        return [str(text) for text in pq.read_table(file)[column].to_pylist()]
    from tuneproof.tasks.demo_task import DemoOptions, read

    return [example.text for example in read(DemoOptions()).parts["train"]]


def texts_as_ids(texts: Sequence[str], items: int, vocabulary: int, longest: int = 256) -> list[list[int]]:
    """So many of the texts, drawn, a token a word: its place in the vocabulary by its CRC.

    At most `longest` tokens a text, so that no tokenizer is timed.
    """
    chosen = np.random.default_rng(0).permutation(len(texts))[:items]
    return [
        [1, *(8 + zlib.crc32(w.encode()) % (vocabulary - 8) for w in texts[i].split()[: longest - 2]), 2]
        for i in chosen
    ]


def word_tokenizer(texts: Sequence[str], size: int = WORDS, kind: str = "bare") -> Any:
    """A fast tokenizer of `size` tokens: the texts' most frequent words, digits and signs apart.

    kind: what it puts around a text: nothing (bare), <s> before it (decoder), <s> and </s> (encoder, which
    also has a mask).
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = (*SPECIAL, "<mask>") if kind == "encoder" else SPECIAL
    split = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits()])
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in split.pre_tokenize_str(text))
    words = [word for word, _ in counts.most_common(size - len(special)) if word not in special]
    words += [f"word{index}" for index in range(len(special) + len(words), size)]
    vocabulary = {word: index for index, word in enumerate((*special, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    around = {"decoder": ("<s> $A", "<s> $A $B"), "encoder": ("<s> $A </s>", "<s> $A </s> $B </s>")}
    if kind in around:
        single, pair = around[kind]
        ends = [("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=ends
        )
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    if kind == "encoder":
        names |= {"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def small_decoder(hidden: int, layers: int, tied: bool = True) -> Any:
    """A Llama of random weights with the proportions of Llama 3.2 1B and 16k words.

    Without tied embeddings what it writes is not what it read last.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=hidden,
        num_hidden_layers=layers,
        intermediate_size=4 * hidden,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 256),
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=tied,
        initializer_range=0.05,
    )
    return LlamaForCausalLM(config).eval()


def real_decoder(folder: str) -> Any:
    """A decoder from its folder, in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def common_options(name: str) -> argparse.ArgumentParser:
    """The options that benchmarks against peers share."""
    parser = argparse.ArgumentParser(prog=f"benchmarks {name}")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--times", type=int, default=5)
    return parser
