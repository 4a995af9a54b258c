"""Tiny random models without dropout, rows of tokens, and the two losses, for the tests of this room."""

import numpy as np
import torch
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from tuneproof.data.batches import collate_epoch
from tuneproof.train.gradients import LossSum
from tuneproof.train.loop import fit, make_accelerator
from tuneproof.train.optimizer import make_optimizer, make_schedule

PAD = 0
IGNORED = -100


def distilbert(dropout: float = 0.0, seed: int = 0):
    torch.manual_seed(seed)
    return DistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=60,
            dim=16,
            hidden_dim=32,
            n_layers=2,
            n_heads=2,
            max_position_embeddings=32,
            dropout=dropout,
            attention_dropout=dropout,
            seq_classif_dropout=dropout,
            num_labels=3,
            pad_token_id=PAD,
            initializer_range=0.2,
        )
    )


def llama_config():
    return LlamaConfig(
        vocab_size=60,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        num_labels=3,
        pad_token_id=PAD,
        initializer_range=0.2,
        use_cache=False,
    )


def llama_head(seed: int = 0):
    torch.manual_seed(seed)
    return LlamaForSequenceClassification(llama_config())


def llama_words(seed: int = 0):
    torch.manual_seed(seed)
    return LlamaForCausalLM(llama_config())


def make_rows(n: int = 40, seed: int = 0):
    """Token lists of 3 to 12, ragged; a class; how many of the last tokens are supervised (1 to 5)."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        tokens = random.integers(1, 60, size=random.integers(6, 13)).tolist()
        rows.append((tokens, int(random.integers(3)), int(random.integers(1, 6))))
    return rows


def collate_labels(rows):
    inputs = _pad([tokens for tokens, _, _ in rows])
    return inputs | {"labels": torch.tensor([label for _, label, _ in rows])}


def collate_words(rows):
    inputs = _pad([tokens for tokens, _, _ in rows])
    labels_BT = torch.full_like(inputs["input_ids"], IGNORED)
    for i, (tokens, _, supervised) in enumerate(rows):
        first = len(tokens) - supervised
        labels_BT[i, first : len(tokens)] = torch.tensor(tokens[first:])
    return inputs | {"labels": labels_BT}


def _pad(lists):
    width = max(map(len, lists))
    return {
        "input_ids": torch.tensor([row + [PAD] * (width - len(row)) for row in lists]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in lists]),
    }


def labels_loss(model, inputs):
    labels_B = inputs["labels"]
    logits_BC = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    loss = torch.nn.functional.cross_entropy(logits_BC, labels_B, reduction="sum")
    return LossSum(loss, len(labels_B), int(inputs["attention_mask"].sum()))


def count_labels(inputs):
    return len(inputs["labels"])


def answer_loss(model, inputs):
    labels_BT = inputs["labels"][:, 1:]
    logits_BTV = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy(
        logits_BTV.flatten(0, 1), labels_BT.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return LossSum(loss, count_words(inputs), int(inputs["attention_mask"].sum()))


def count_words(inputs):
    return int((inputs["labels"][:, 1:] != IGNORED).sum())


LABELS = (collate_labels, labels_loss, count_labels)
WORDS = (collate_words, answer_loss, count_words)


def train(
    model,
    rows,
    objective=LABELS,
    *,
    batch_size=8,
    micro_batch=None,
    epochs=1,
    learning_rate=1e-3,
    weight_decay=0.01,
    schedule="linear",
    warmup_share=0.1,
    clip_norm=1.0,
    seed=0,
    by_length=False,
    start=0,
    accelerator=None,
    optimizer=None,
):
    """A generator of steps over `rows`, everything as a caller would put it together."""
    collate, loss, count = objective
    steps_per_epoch = -(-len(rows) // batch_size)
    lengths = [len(tokens) for tokens, _, _ in rows] if by_length else None

    def batches(epoch):
        return collate_epoch(
            [f"row-{i}" for i in range(len(rows))],
            lambda part: collate([rows[i] for i in part]),
            batch_size,
            seed,
            epoch,
            micro_batch,
            lengths,
        )

    return fit(
        model,
        batches,
        loss,
        count,
        optimizer or make_optimizer(model, learning_rate, weight_decay),
        make_schedule(schedule, epochs * steps_per_epoch, warmup_share),
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        clip_norm=clip_norm,
        seed=seed,
        accelerator=accelerator or make_accelerator("cpu", "fp32"),
        start=start,
    )


def weights_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def without_key_biases(weights):
    """A key's bias shifts all of a query's scores alike, so softmax ignores it: its true gradient is
    zero, and what moves it in float32 is rounding, which Adam blows up to the learning rate."""
    return {name: w for name, w in weights.items() if not name.endswith("k_lin.bias")}


def largest_difference(left, right):
    return max(float((left[name] - right[name]).abs().max()) for name in left)
