"""One epoch of training: by our loop, and by the Hugging Face Trainer.

In: a model, token ids, what is supervised. Out: seconds of the epoch (see `timed`), and its losses.
Knows nothing of: where the items come from, what is compared.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alternating import Timed, timed

CLIP = 1.0


@dataclass(frozen=True)
class Items:
    """Token ids, and the label of each item or the token that answers it; `batch` of them a step."""

    ids: Sequence[Sequence[int]]
    labels: Sequence[int]
    batch: int

    @property
    def longest(self) -> int:
        """Tokens of the longest item."""
        return max(map(len, self.ids))


def fresh_state() -> None:
    """Forget the last run's precision: Accelerate takes one a process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)


def kernels(items: Items, ours: bool, device: str = "cpu") -> None:
    """Our choice of matrix kernels, or torch's own."""
    import torch

    from tuneproof.models.matmul_backend import choose_matmul

    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.enable_flash_sdp(True)
    if ours:
        choose_matmul(device, items.longest)


def by_us(
    model: Any,
    items: Items,
    loss: Callable[[Any, dict[str, Any]], Any],
    extra: Callable[[Any], dict[str, Any]],
    rate: float,
    *,
    words: bool = False,
    grouped: bool = False,
    precision: str = "fp32",
    device: str = "cpu",
    seed: int = 0,
) -> Timed:
    """Our loop. extra: what the loss needs of some items besides their tokens.

    words: rows are padded on the left.
    """
    from tuneproof.data.batches import collate_epoch, count_batches
    from tuneproof.data.tokens import pad_batch
    from tuneproof.train.loop import fit, make_accelerator
    from tuneproof.train.optimizer import make_optimizer, make_schedule

    fresh_state()
    kernels(items, ours=True, device=device)
    model = model.to(device)

    def collate(chosen: Any) -> dict[str, Any]:
        part = pad_batch([items.ids[i] for i in chosen], 0, "left" if words else "right")
        return {**part, **extra(chosen), "tokens": int(part["attention_mask"].sum())}

    names = [str(index) for index in range(len(items.ids))]
    lengths = list(map(len, items.ids))
    steps = count_batches(len(names), items.batch)
    return timed(
        lambda: [
            step.loss
            for step in fit(
                model,
                lambda epoch: collate_epoch(
                    names, collate, items.batch, seed, epoch, lengths=lengths, grouped=grouped
                ),
                loss,
                lambda part: len(part["answers" if words else "labels"]),
                make_optimizer(model, rate, 0.0),
                make_schedule("linear", steps, 0.0),
                epochs=1,
                steps_per_epoch=steps,
                clip_norm=CLIP,
                seed=seed,
                accelerator=make_accelerator(device, precision),
            )
        ],
        device,
    )


def head_extra(items: Items) -> Callable[[Any], dict[str, Any]]:
    """The labels of some items, as a classification head's loss takes them."""
    import torch

    labels = torch.tensor(items.labels)
    return lambda chosen: {"labels": labels[torch.as_tensor(chosen)]}


def by_trainer(
    model: Any,
    items: Items,
    rows: Sequence[dict[str, Any]],
    collate: Callable[[list[dict[str, Any]]], dict[str, Any]],
    rate: float,
    *,
    our_order: bool = False,
    grouped: bool = False,
    our_kernels: bool = False,
    precision: str = "fp32",
    device: str = "cpu",
    seed: int = 42,
) -> Timed:
    """The Trainer; its losses step by step where it takes the items in our order (grouped by length)."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from tuneproof.data.batches import plan_batches

    losses: list[float] = []

    class Ordered(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            if not our_order:
                return super()._get_train_sampler(train_dataset)
            lengths = list(map(len, items.ids)) if grouped else None
            return np.concatenate(plan_batches(len(rows), items.batch, 0, 0, lengths)).tolist()

    class Kept(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            losses.extend([logs["loss"]] if "loss" in logs else [])

    fresh_state()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Ordered(
            model,
            TrainingArguments(
                folder,
                per_device_train_batch_size=items.batch,
                num_train_epochs=1,
                use_cpu=device == "cpu",
                bf16=precision == "bf16",
                fp16=precision == "fp16",
                learning_rate=rate,
                max_grad_norm=CLIP,
                report_to="none",
                save_strategy="no",
                logging_strategy="steps" if our_order else "no",
                logging_steps=1,
                disable_tqdm=True,
                seed=seed,
            ),
            data_collator=collate,
            train_dataset=rows,
            callbacks=[Kept()],
        )
        silence(trainer)
        kernels(items, ours=our_kernels, device=device)
        seconds, _ = timed(trainer.train, device)
    return seconds, losses


def labelled_rows(items: Items) -> list[dict[str, Any]]:
    """The items as a Trainer's data set."""
    return [{"input_ids": i, "labels": int(y)} for i, y in zip(items.ids, items.labels, strict=True)]


def padded(rows: Sequence[dict[str, Any]], longest: int = 0) -> dict[str, Any]:
    """Rows as one right-padded batch, to `longest` tokens at least; labels a row or a token."""
    import torch

    wide = max(longest, *(len(row["input_ids"]) for row in rows))
    ids = torch.zeros((len(rows), wide), dtype=torch.long)
    mask, marks = torch.zeros_like(ids), torch.full_like(ids, -100)
    for at, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[at, :length] = torch.tensor(row["input_ids"])
        mask[at, :length] = 1
        if not isinstance(row["labels"], int):
            marks[at, :length] = torch.tensor(row["labels"])
    row_labels = [row["labels"] for row in rows]
    labels = torch.tensor(row_labels) if isinstance(row_labels[0], int) else marks
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def silence(trainer: Any) -> None:
    """No progress on the terminal."""
    for callback in list(trainer.callback_handler.callbacks):
        if "Printer" in type(callback).__name__:
            trainer.remove_callback(type(callback))
