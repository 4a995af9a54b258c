"""Pretrain the small language model that the demo carries.

In: a folder with IMDB parquet files (train and unsup; test only to exclude its texts).
Out: a folder with bf16 safetensors, tokenizer and model card that AutoModelForCausalLM loads.
Knows nothing of: labels (the column is never read), the demo's own reviews, tuneproof.

    python demo/pretrain.py --data ../shared/data/imdb --out src/tuneproof/families/demo_model

The work folder keeps tokens, checkpoint and curve; the same command goes on where it stopped.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from card import card_text
from corpus import CONTEXT, VOCABULARY, prepare, word_vectors, write_whole
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WIDTH = 256
PEAK_RATE = 2e-3
WARM_UP_STEPS = 200
DECAY_SHARE = 0.4
EVALUATE_EVERY_S = 180.0
CHECKPOINT_EVERY_S = 60.0


@dataclass
class Progress:
    """Where the run stands; saved with the weights. `trained_s` is processor time."""

    step: int = 0
    tokens: int = 0
    trained_s: float = 0.0


def new_model() -> LlamaForCausalLM:
    """3.7 M parameters: 4 blocks of width 256, 8 heads over 2 key-value heads."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
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


def rate_factor(share: float, step: int) -> float:
    """Share of the peak rate: linear warm-up, flat, then straight down over the last of the budget.

    The flat middle is what allows a run to be lengthened or ended early: go on with other --minutes.
    Source: Hägele et al. (2024), Scaling Laws and Compute-Optimal Training Beyond Fixed Durations.
    """
    return min(1.0, (step + 1) / WARM_UP_STEPS, max(0.02, (1 - share) / DECAY_SHARE))


def new_optimizer(model: LlamaForCausalLM) -> torch.optim.AdamW:
    """AdamW; no weight decay on norms."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98), fused=True)


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
    """Put the saved state back."""
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


def export(work: Path, out: Path, model, progress: Progress, minutes: float) -> None:
    """Write the model folder: bf16 weights, tokenizer, model card."""
    out.mkdir(parents=True, exist_ok=True)
    rng = torch.get_rng_state()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "tokenizer")
    carried = LlamaForCausalLM(model.config)
    carried.load_state_dict(model.state_dict())
    carried = carried.to(torch.bfloat16).eval()
    loss = held_out_loss(carried, np.load(work / "held_out.npy"), count=10**9)
    carried.generation_config.pad_token_id = tokenizer.pad_token_id
    carried.save_pretrained(work / "export")
    tokenizer.save_pretrained(work / "export")
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        write_whole(out / name, (work / "export" / name).read_bytes())
    whole = json.loads((work / "export" / "tokenizer.json").read_text("utf-8"))
    packed = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    write_whole(out / "tokenizer.json", packed.encode())
    settings = json.loads((work / "export" / "tokenizer_config.json").read_text("utf-8"))
    for key in ("is_local", "local_files_only"):
        settings.pop(key, None)
    write_whole(out / "tokenizer_config.json", (json.dumps(settings, indent=2) + "\n").encode())
    prompts = ("This film", "The food was", "I bought this because")
    samples = [sample(carried, tokenizer, p, seed=i) for i, p in enumerate(prompts)]
    curve = [json.loads(line) for line in (work / "curve.jsonl").read_text().splitlines()]
    corpus = json.loads((work / "corpus.json").read_text())
    parameters = sum(p.numel() for p in carried.parameters())
    card = card_text(corpus, curve, samples, loss, parameters, vars(progress), minutes)
    write_whole(out / "README.md", card.encode())
    torch.set_rng_state(rng)
    print(f"exported to {out}: held-out loss {loss:.4f} after {progress.tokens:,} tokens", flush=True)


def train(asked: argparse.Namespace) -> None:
    """Train for the asked minutes of processor time, exporting on the way and at the end."""
    work: Path = asked.work
    train_tokens, held = np.load(work / "train.npy"), np.load(work / "held_out.npy")
    model = new_model()
    optimizer = new_optimizer(model)
    if (work / "checkpoint.pt").exists():
        progress = load_checkpoint(work / "checkpoint.pt", model, optimizer)
    else:
        progress = Progress()
        model.model.embed_tokens.weight.data.copy_(word_vectors(train_tokens, WIDTH))
    budget_s = asked.minutes * 60
    evaluated_s = saved_s = exported_s = progress.trained_s
    losses: list[float] = []
    while progress.trained_s < budget_s:
        began = time.process_time()
        factor = rate_factor(progress.trained_s / budget_s, progress.step)
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * factor
        loss = mean_loss(model, windows(train_tokens, progress.step, asked.batch))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        progress.step += 1
        progress.tokens += asked.batch * CONTEXT
        progress.trained_s += time.process_time() - began
        over = progress.trained_s >= budget_s
        if over or progress.step == 1 or progress.trained_s - evaluated_s >= EVALUATE_EVERY_S:
            row = {**vars(progress), "rate_factor": factor, "train_loss": float(np.mean(losses))}
            row["held_out_loss"] = held_out_loss(model, held, count=96)
            with open(work / "curve.jsonl", "a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
            evaluated_s, losses = progress.trained_s, []
        if over or progress.trained_s - saved_s >= CHECKPOINT_EVERY_S:
            save_checkpoint(work / "checkpoint.pt", model, optimizer, progress)
            saved_s = progress.trained_s
        if not over and progress.trained_s - exported_s >= asked.export_every * 60:
            export(work, asked.out, model, progress, asked.minutes)
            exported_s = progress.trained_s
    export(work, asked.out, model, progress, asked.minutes)


def main() -> None:
    """Read the options, prepare the corpus once, train, export."""
    parser = argparse.ArgumentParser(description="Pretrain the demo's language model.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the IMDB parquet files")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--work", type=Path, default=Path("out/pretrain"), help="checkpoint, curve")
    parser.add_argument("--minutes", type=float, default=75, help="processor time for training")
    parser.add_argument("--export-every", type=float, default=8, help="minutes between exports")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8, help=f"windows of {CONTEXT} tokens a step")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.set_float32_matmul_precision("medium")
    asked.work.mkdir(parents=True, exist_ok=True)
    prepare(asked.data, asked.work)
    train(asked)


if __name__ == "__main__":
    main()
