"""Pretrain the small language model that the demo carries.

In: a folder with IMDB parquet files (train and unsup; test only to exclude its texts).
Out: a folder with bf16 safetensors, tokenizer and model card that AutoModelForCausalLM loads.
Knows nothing of: labels (the column is never read), the demo's own reviews, tuneproof.

    python demo/pretrain.py --data ../shared/data/imdb --out src/tuneproof/families/demo_model

The work folder keeps tokens, checkpoint and curve; the same command goes on where it stopped.
"""

import argparse
import json
import math
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pyarrow.parquet as pq
import torch
from card import card_text
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 4096
CONTEXT = 256
HELD_OUT_REVIEWS = 500
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
EVALUATE_EVERY_S = 240.0
CHECKPOINT_EVERY_S = 120.0


@dataclass
class Progress:
    """Where the run stands; saved with the weights."""

    step: int = 0
    tokens: int = 0
    trained_s: float = 0.0


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


def new_model() -> LlamaForCausalLM:
    """3.7 M parameters: 4 blocks of width 256, 8 heads over 2 key-value heads."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            num_hidden_layers=4,
            num_attention_heads=8,
            num_key_value_heads=2,
            intermediate_size=640,
            max_position_embeddings=2 * CONTEXT,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def windows(tokens: np.ndarray, step: int, batch: int) -> torch.Tensor:
    """The windows_BS of one step: every pass over the stream in a new order and offset."""
    per_pass = (tokens.size - CONTEXT) // CONTEXT // batch
    pass_, at = divmod(step, per_pass)
    draw = np.random.default_rng([1, pass_])
    offset = int(draw.integers(CONTEXT))
    order = draw.permutation((tokens.size - offset) // CONTEXT)
    chosen = order[at * batch : (at + 1) * batch]
    rows = [tokens[offset + i * CONTEXT : offset + (i + 1) * CONTEXT] for i in chosen]
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def mean_loss(model: LlamaForCausalLM, windows_BS: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the next token, in nats."""
    with torch.autocast("cpu", torch.bfloat16):
        logits_BSV = model(input_ids=windows_BS).logits
    return torch.nn.functional.cross_entropy(
        logits_BSV[:, :-1].flatten(0, 1).float(), windows_BS[:, 1:].flatten()
    )


@torch.no_grad()
def held_out_loss(model: LlamaForCausalLM, tokens: np.ndarray, count: int) -> float:
    """Mean loss over the first `count` windows of the held-out stream."""
    count = min(count, tokens.size // CONTEXT)
    rows = torch.from_numpy(tokens[: count * CONTEXT].reshape(count, CONTEXT).astype(np.int64))
    model.eval()
    losses = [float(mean_loss(model, part)) * len(part) for part in rows.split(16)]
    model.train()
    return sum(losses) / count


def learning_rate(share: float, step: int, peak: float) -> float:
    """Linear warm-up over 100 steps, then a cosine over the budget down to 2 % of the peak."""
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return peak * min(1.0, (step + 1) / 100) * cosine


def new_optimizer(model: LlamaForCausalLM, peak: float) -> torch.optim.AdamW:
    """AdamW; no weight decay on norms."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.95), fused=True)


def save_checkpoint(path: Path, model, optimizer, progress: Progress) -> None:
    """Weights, optimizer, progress and random state in one file, whole or not at all."""
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": vars(progress),
        "rng": torch.get_rng_state(),
    }
    temporary = path.with_name(path.name + ".part")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path, model, optimizer) -> Progress:
    """Put the saved state back; a fresh `Progress` where there is none."""
    if not path.exists():
        return Progress()
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    return Progress(**state["progress"])


@torch.no_grad()
def sample(model, tokenizer, prompt: str, seed: int) -> str:
    """Sixty tokens drawn at temperature 0.8 from the 40 likeliest."""
    torch.manual_seed(seed)
    ids = tokenizer(prompt, return_tensors="pt")
    out = model.generate(
        input_ids=ids["input_ids"],
        attention_mask=ids["attention_mask"],
        max_new_tokens=60,
        do_sample=True,
        temperature=0.8,
        top_k=40,
    )
    return tokenizer.decode(out[0], skip_special_tokens=True)


def export(work: Path, out: Path, model, progress: Progress, asked: argparse.Namespace) -> None:
    """Write the model folder: bf16 weights, tokenizer, model card."""
    out.mkdir(parents=True, exist_ok=True)
    rng = torch.get_rng_state()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "tokenizer")
    carried = LlamaForCausalLM(model.config)
    carried.load_state_dict(model.state_dict())
    carried = carried.to(torch.bfloat16).eval()
    loss = held_out_loss(carried, np.load(work / "held_out.npy"), count=10**9)
    carried.generation_config.pad_token_id = tokenizer.pad_token_id
    carried.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(out)
    whole = json.loads((out / "tokenizer.json").read_text("utf-8"))
    write_whole(
        out / "tokenizer.json",
        json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode(),
    )
    prompts = ("This film", "The food was", "I bought this because")
    samples = [sample(carried, tokenizer, p, seed=i) for i, p in enumerate(prompts)]
    curve = [json.loads(line) for line in (work / "curve.jsonl").read_text().splitlines()]
    corpus = json.loads((work / "corpus.json").read_text())
    parameters = sum(p.numel() for p in carried.parameters())
    card = card_text(corpus, curve, samples, loss, parameters, vars(progress), asked.minutes)
    write_whole(out / "README.md", card.encode())
    torch.set_rng_state(rng)
    print(f"exported to {out}: held-out loss {loss:.4f} after {progress.tokens:,} tokens")


def train(asked: argparse.Namespace) -> None:
    """Train for the asked minutes of training time, then export."""
    work: Path = asked.work
    train_tokens, held = np.load(work / "train.npy"), np.load(work / "held_out.npy")
    model = new_model()
    optimizer = new_optimizer(model, asked.peak)
    progress = load_checkpoint(work / "checkpoint.pt", model, optimizer)
    budget_s = asked.minutes * 60
    evaluated_s = saved_s = progress.trained_s
    exported = progress.trained_s >= asked.first_export * 60
    losses: list[float] = []
    while progress.trained_s < budget_s:
        began = time.perf_counter()
        rate = learning_rate(progress.trained_s / budget_s, progress.step, asked.peak)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = mean_loss(model, windows(train_tokens, progress.step, asked.batch))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        progress.step += 1
        progress.tokens += asked.batch * CONTEXT
        progress.trained_s += time.perf_counter() - began
        over = progress.trained_s >= budget_s
        if over or progress.step == 1 or progress.trained_s - evaluated_s >= EVALUATE_EVERY_S:
            row = {**vars(progress), "learning_rate": rate, "train_loss": float(np.mean(losses))}
            row["held_out_loss"] = held_out_loss(model, held, count=96)
            with open(work / "curve.jsonl", "a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
            evaluated_s, losses = progress.trained_s, []
        if over or progress.trained_s - saved_s >= CHECKPOINT_EVERY_S:
            save_checkpoint(work / "checkpoint.pt", model, optimizer, progress)
            saved_s = progress.trained_s
        if not exported and progress.trained_s >= asked.first_export * 60:
            export(work, asked.out, model, progress, asked)
            exported = True
    export(work, asked.out, model, progress, asked)


def main() -> None:
    """Read the options, prepare the corpus once, train, export."""
    parser = argparse.ArgumentParser(description="Pretrain the demo's language model.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the IMDB parquet files")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--work", type=Path, default=Path("out/pretrain"), help="checkpoint, curve")
    parser.add_argument("--minutes", type=float, default=75, help="training time")
    parser.add_argument(
        "--first-export", type=float, default=10, help="minutes until a first export"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--batch", type=int, default=16, help=f"windows of {CONTEXT} tokens per step"
    )
    parser.add_argument("--peak", type=float, default=3e-3, help="highest learning rate")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.set_float32_matmul_precision("medium")
    asked.work.mkdir(parents=True, exist_ok=True)
    prepare(asked.data, asked.work)
    train(asked)


if __name__ == "__main__":
    main()
