"""LoRA on a label's words: our loop, the Hugging Face Trainer and TRL's SFTTrainer in turn.

In: real texts' lengths, a decoder of random weights. Out: a table of ratios of process-CPU time.
Knows nothing of: tasks, recipes, accuracy.

    python -m benchmarks lora [--texts FILE.parquet --column sentence] [--shape small|1b] [--times 5]

A token is a word's place in the vocabulary (by its CRC), the answer is one token, and the loss counts on
it alone.
Dropout is off; on the same batches in float32 both sides must have the same losses.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alternating import Timed, row, widest
from benchmarks.stand_ins import read_texts, texts_as_ids

RATE, CLIP, RANK = 2e-4, 1.0, 8
LOSS_BAR = 1e-4
SHAPES: dict[str, dict[str, int]] = {
    "small": {
        "vocab_size": 16_384, "hidden_size": 512, "num_hidden_layers": 8, "intermediate_size": 2048,
        "num_attention_heads": 8, "num_key_value_heads": 2,
    },
    "1b": {
        "vocab_size": 128_256, "hidden_size": 2048, "num_hidden_layers": 16,
        "intermediate_size": 8192, "num_attention_heads": 32, "num_key_value_heads": 8,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Prompts and the one token that answers each."""

    ids: list[list[int]]
    answers: list[int]
    batch: int


def _model(shape: str) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            **SHAPES[shape], max_position_embeddings=2048, pad_token_id=0, bos_token_id=1,
            eos_token_id=2, tie_word_embeddings=True,
        )  # type: ignore[arg-type]
    )  # fmt: skip


def _config() -> Any:
    from peft import LoraConfig, TaskType

    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM, r=RANK, lora_alpha=2.0 * RANK, lora_dropout=0.0,
        target_modules=names,
    )  # fmt: skip


def _adapted(shape: str) -> Any:
    import torch
    from peft import get_peft_model

    model = _model(shape)
    torch.manual_seed(1)
    return get_peft_model(model, _config())


def _rows(data: Data) -> list[dict[str, list[int]]]:
    return [
        {"input_ids": [*ids, answer], "labels": [-100] * len(ids) + [answer]}
        for ids, answer in zip(data.ids, data.answers, strict=True)
    ]


def ours(shape: str, data: Data) -> Timed:
    import torch
    from accelerate.state import AcceleratorState

    from tuneproof.data.batches import collate_epoch, count_batches
    from tuneproof.data.tokens import pad_batch
    from tuneproof.model.kernels import choose_matmul
    from tuneproof.train.loop import fit, make_accelerator
    from tuneproof.train.losses import words_loss
    from tuneproof.train.optimizer import make_optimizer, make_schedule

    AcceleratorState._reset_state(True)
    model = _adapted(shape)

    def collate(chosen: Any) -> dict[str, Any]:
        part = pad_batch([data.ids[i] for i in chosen], 0, "left")
        return {
            **part, "keep": 1, "places": torch.arange(len(chosen)),
            "answers": torch.tensor([data.answers[i] for i in chosen]),
            "tokens": int(part["attention_mask"].sum()),
        }  # fmt: skip

    steps = count_batches(len(data.ids), data.batch)
    choose_matmul("cpu", max(map(len, data.ids)))
    begun = time.process_time()
    losses = [
        step.loss
        for step in fit(
            model,
            lambda epoch: collate_epoch(
                [str(i) for i in range(len(data.ids))], collate, data.batch, 0, epoch
            ),
            words_loss, lambda part: len(part["answers"]), make_optimizer(model, RATE, 0.0),
            make_schedule("linear", steps, 0.0), epochs=1, steps_per_epoch=steps, clip_norm=CLIP,
            seed=0, accelerator=make_accelerator("cpu", "fp32"),
        )
    ]  # fmt: skip
    return time.process_time() - begun, losses


def _kernels(alike: bool, data: Data) -> None:
    import torch

    from tuneproof.model.kernels import choose_matmul

    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.enable_flash_sdp(True)
    if alike:
        choose_matmul("cpu", max(map(len, data.ids)))


def _trainer(shape: str, data: Data, alike: bool) -> Timed:
    """Labels of -100 everywhere but at the answer, float32."""
    from accelerate.state import AcceleratorState
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from tuneproof.data.batches import plan_batches

    losses: list[float] = []

    class Ordered(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return np.concatenate(plan_batches(len(data.ids), data.batch, 0, 0)).tolist()

    class Kept(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            losses.extend([logs["loss"]] if "loss" in logs else [])

    AcceleratorState._reset_state(True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Ordered(
            _adapted(shape),
            TrainingArguments(
                folder, per_device_train_batch_size=data.batch, num_train_epochs=1, use_cpu=True,
                learning_rate=RATE, max_grad_norm=CLIP, report_to="none", save_strategy="no",
                logging_strategy="steps", logging_steps=1, disable_tqdm=True,
            ),
            data_collator=_padded, train_dataset=_rows(data), callbacks=[Kept()],
        )  # fmt: skip
        _silent(trainer)
        _kernels(alike, data)
        begun = time.process_time()
        trainer.train()
        return time.process_time() - begun, losses


def _sft(shape: str, data: Data) -> Timed:
    """TRL as shipped: bfloat16, activations recomputed, its own collator, order and kernels."""
    from accelerate.state import AcceleratorState
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    AcceleratorState._reset_state(True)
    with tempfile.TemporaryDirectory() as folder:
        rows = Dataset.from_list(
            [
                {
                    "input_ids": one["input_ids"],
                    "completion_mask": [int(y >= 0) for y in one["labels"]],
                }
                for one in _rows(data)
            ]
        )
        trainer = SFTTrainer(
            _model(shape),
            SFTConfig(
                folder, per_device_train_batch_size=data.batch, num_train_epochs=1, use_cpu=True,
                learning_rate=RATE, max_grad_norm=CLIP, report_to="none", save_strategy="no",
                logging_strategy="no", disable_tqdm=True, pad_token="<pad>", eos_token="</s>",
            ),
            train_dataset=rows, processing_class=_any_tokenizer(), peft_config=_config(),
        )  # fmt: skip
        _silent(trainer)
        _kernels(False, data)
        begun = time.process_time()
        trainer.train()
        return time.process_time() - begun, []


def _any_tokenizer() -> Any:
    """SFTTrainer wants one, for the ids of its markers."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")), pad_token="<pad>",
        bos_token="<s>", eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip


def _padded(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    import torch

    wide = max(len(one["input_ids"]) for one in rows)
    ids = torch.zeros((len(rows), wide), dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for at, one in enumerate(rows):
        length = len(one["input_ids"])
        ids[at, :length] = torch.tensor(one["input_ids"])
        labels[at, :length] = torch.tensor(one["labels"])
        mask[at, :length] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _silent(trainer: Any) -> None:
    for callback in list(trainer.callback_handler.callbacks):
        if "Printer" in type(callback).__name__:
            trainer.remove_callback(type(callback))


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; 1 where losses on the same batches differ."""
    parser = argparse.ArgumentParser(prog="benchmarks lora")
    parser.add_argument("--texts", help="a Parquet file of real texts (default: the demo's)")
    parser.add_argument("--column", default="sentence")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args(words)
    import torch
    import transformers

    torch.set_num_threads(1)
    ids = texts_as_ids(
        read_texts(asked.texts, asked.column), asked.batch * asked.steps,
        SHAPES[asked.shape]["vocab_size"],
    )  # fmt: skip
    data = Data(ids, [5 + len(one) % 2 for one in ids], asked.batch)
    print(
        f"ours against transformers {transformers.__version__}, torch {torch.__version__}, one thread, "
        f"process-CPU time, median (spread) of {asked.times} alternations; {asked.shape}: "
        f"{SHAPES[asked.shape]}, batch {asked.batch}, {statistics.mean(map(len, ids)):.0f} tokens"
    )
    shape = asked.shape
    ours = lambda: ours(shape, data)  # noqa: E731
    ours()
    agreed = row(
        "  Trainer, -100 labels, same kernels", asked.times, ours,
        lambda: _trainer(shape, data, True), 1.3, widest, LOSS_BAR,
    )  # fmt: skip
    agreed &= row(
        "  Trainer, -100 labels, as shipped", asked.times, ours,
        lambda: _trainer(shape, data, False), 2.2, widest, LOSS_BAR,
    )  # fmt: skip
    try:
        import trl
    except ImportError:
        print("  TRL is not installed: pip install -r benchmarks/constraints.txt")
    else:
        name = f"  TRL {trl.__version__}'s SFTTrainer, as shipped"
        row(name, asked.times, ours, lambda: _sft(shape, data), 1.4)
    return 0 if agreed else 1
