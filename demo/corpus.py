"""The corpus of the demo model: texts, tokenizer, packed tokens, first embeddings.

In: a folder with IMDB parquet files. Out: the work folder with tokens and tokenizer.
Knows nothing of: the network, labels (the column is never read).
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 4096
CONTEXT = 256
HELD_OUT_REVIEWS = 500
BOS, EOS, PAD = "<s>", "</s>", "<pad>"


def normalised(text: str) -> str:
    """Letters and digits only, lower case, one space: the form in which texts are compared."""
    return " ".join(re.findall(r"[a-z0-9]+", text.replace("<br />", " ").lower()))


def read_reviews(data: Path) -> tuple[list[str], dict[str, int]]:
    """Train and unsup texts without those of test and without repeats, and the counts."""

    def column(part: str) -> list[str]:
        return pq.read_table(data / f"{part}.parquet", columns=["text"])["text"].to_pylist()

    seen = {normalised(text) for text in column("test")}
    excluded = set(seen)
    counts = {"train": 0, "unsup": 0, "in_test": 0, "repeated": 0}
    texts = []
    for part in ("train", "unsup"):
        for text in column(part):
            key = normalised(text)
            if key in seen:
                counts["in_test" if key in excluded else "repeated"] += 1
                continue
            seen.add(key)
            counts[part] += 1
            clean = re.sub(r"(<br\s*/?>\s*)+", "\n", text).strip()
            texts.append(clean)
    return texts, counts


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that puts <s> before every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    bos_id = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, bos_id)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
        add_bos_token=True,
    )


def prepare(data: Path, work: Path) -> None:
    """Write tokenizer, packed tokens and counts into the work folder, once."""
    if (work / "corpus.json").exists():
        return
    texts, counts = read_reviews(data)
    order = np.random.default_rng(0).permutation(len(texts))
    # The held-out slice comes from unsup, which is the later part of the list.
    held = {int(i) for i in order[order >= counts["train"]][:HELD_OUT_REVIEWS]}
    kept = [texts[i] for i in order if int(i) not in held]
    tokenizer = train_tokenizer(kept[:20_000])
    tokenizer.model_max_length = 10**9  # no warning while packing; the folder says what it holds
    eos = tokenizer.eos_token_id

    def packed(chosen: list[str]) -> np.ndarray:
        parts = []
        for start in range(0, len(chosen), 1000):
            for ids in tokenizer(chosen[start : start + 1000])["input_ids"]:
                parts.append(np.array([*ids, eos], dtype=np.uint16))
        return np.concatenate(parts)

    for name, chosen in (("held_out", [texts[i] for i in sorted(held)]), ("train", kept)):
        tokens = packed(chosen)
        np.save(work / f"{name}.npy", tokens)
        counts[f"{name}_tokens"] = int(tokens.size)
        counts[f"{name}_characters"] = sum(len(text) for text in chosen)
        counts[f"{name}_reviews"] = len(chosen)
    tokenizer.model_max_length = 2 * CONTEXT
    tokenizer.save_pretrained(work / "tokenizer")
    write_whole(work / "corpus.json", json.dumps(counts, indent=1).encode())


def write_whole(path: Path, data: bytes) -> None:
    """Write the file complete or not at all."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def word_vectors(tokens: np.ndarray, width: int) -> torch.Tensor:
    """Vectors_VD of the tokens from their neighbours, for the embedding to begin with.

    Positive pointwise mutual information within eight tokens, contexts smoothed by the power 0.75,
    then a truncated singular value decomposition. Vectors are scaled to a root mean square of 0.03.

    Source: Levy, Goldberg and Dagan (2015), Improving Distributional Similarity, sections 3 and 7.
    """
    stream = tokens.astype(np.int64)
    counts = np.zeros(VOCABULARY**2, np.float32)
    for apart in range(1, 9):
        pairs = stream[:-apart] * VOCABULARY + stream[apart:]
        counts += np.bincount(pairs, minlength=VOCABULARY**2).astype(np.float32) / apart
    counts_VV = counts.reshape(VOCABULARY, VOCABULARY)
    counts_VV = torch.from_numpy(counts_VV + counts_VV.T)
    total_V = counts_VV.sum(1)
    context_V = total_V**0.75 / (total_V**0.75).sum()
    information_VV = torch.log(counts_VV / (total_V[:, None] * context_V[None, :]))
    information_VV = information_VV.nan_to_num(0.0, neginf=0.0).clamp_min(0.0)
    torch.manual_seed(0)
    left_VD, scale_D, _ = torch.svd_lowrank(information_VV, q=width + 44, niter=3)
    vectors_VD = left_VD[:, :width] * scale_D[:width].sqrt()
    vectors_VD *= 0.03 / vectors_VD.square().mean().sqrt()
    # Tokens that only ever serve inside longer ones have no neighbours.
    vectors_VD[total_V == 0] = 0.02 * torch.randn(int((total_V == 0).sum()), width)
    return vectors_VD
