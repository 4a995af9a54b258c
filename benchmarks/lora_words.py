"""LoRA on a label's words: our loop, the Hugging Face Trainer and TRL's SFTTrainer in turn.

In: real texts' lengths, a decoder of random or real weights. Out: a table of ratios of process-CPU time.
Knows nothing of: tasks, recipes, accuracy.

    python -m benchmarks lora [--texts FILE.parquet --column sentence] [--shape small|1b|FOLDER] [--times 5]

A token is a word's place in the vocabulary (by its CRC), the answer is one token, and the loss counts on
it alone.
Dropout is off; on the same batches in float32 both sides must have the same losses.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.alternating import Timed, row, timed, widest
from benchmarks.stand_ins import read_texts, real_decoder, texts_as_ids
from benchmarks.training import CLIP, Items, by_trainer, by_us, fresh_state, kernels, padded, silence

RATE, RANK = 2e-4, 8
LOSS_BAR = 1e-4
SHAPES: dict[str, dict[str, int]] = {
    "small": {
        "vocab_size": 16_384,
        "hidden_size": 512,
        "num_hidden_layers": 8,
        "intermediate_size": 2048,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    },
    "1b": {
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}


def _model(shape: str) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if shape not in SHAPES:
        return real_decoder(shape)
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            **SHAPES[shape],
            max_position_embeddings=2048,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            tie_word_embeddings=True,
        )  # type: ignore[arg-type]
    )


def _config() -> Any:
    from peft import LoraConfig, TaskType

    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM, r=RANK, lora_alpha=2.0 * RANK, lora_dropout=0.0, target_modules=names
    )


def with_adapter(model: Any) -> Any:
    """The decoder with a new LoRA adapter on all linear layers."""
    import torch
    from peft import get_peft_model

    torch.manual_seed(1)
    return get_peft_model(model, _config())


def adapted(shape: str) -> Any:
    return with_adapter(_model(shape))


def _rows(data: Items) -> list[dict[str, list[int]]]:
    return [
        {"input_ids": [*ids, answer], "labels": [-100] * len(ids) + [answer]}
        for ids, answer in zip(data.ids, data.labels, strict=True)
    ]


def ours(
    shape: str, items: Items, model: Any = None, *, precision: str = "fp32", device: str = "cpu"
) -> Timed:
    """Seconds of an epoch, and the losses. model: with its adapter (None: a new one)."""
    import torch

    from tuneproof.methods.lora_linear import fuse_updates
    from tuneproof.train.losses import answer_loss

    model = model or adapted(shape)
    fuse_updates(model)

    def extra(chosen: Any) -> dict[str, Any]:
        answers = torch.tensor([items.labels[i] for i in chosen])
        return {"keep": 1, "positions": torch.arange(len(chosen)), "answers": answers}

    return by_us(model, items, answer_loss, extra, RATE, words=True, precision=precision, device=device)


def by_the_trainer(
    shape: str, items: Items, alike: bool, model: Any = None, *, precision: str = "fp32", device: str = "cpu"
) -> Timed:
    """Labels of -100 everywhere but at the answer, our order; `alike`: our kernels too."""
    return by_trainer(
        model or adapted(shape),
        items,
        _rows(items),
        padded,
        RATE,
        our_order=True,
        our_kernels=alike,
        precision=precision,
        device=device,
    )


def by_sft(shape: str, data: Items, model: Any = None, *, device: str = "cpu") -> Timed:
    """TRL as shipped: bfloat16, activations recomputed, its own collator, order and kernels."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    fresh_state()
    with tempfile.TemporaryDirectory() as folder:
        rows = Dataset.from_list(
            [
                {"input_ids": item["input_ids"], "completion_mask": [int(y >= 0) for y in item["labels"]]}
                for item in _rows(data)
            ]
        )
        trainer = SFTTrainer(
            model or _model(shape),
            SFTConfig(
                folder,
                per_device_train_batch_size=data.batch,
                num_train_epochs=1,
                use_cpu=device == "cpu",
                learning_rate=RATE,
                max_grad_norm=CLIP,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                pad_token="<pad>",
                eos_token="</s>",
            ),
            train_dataset=rows,
            processing_class=_any_tokenizer(),
            peft_config=None if model else _config(),
        )
        silence(trainer)
        kernels(data, ours=False, device=device)
        seconds, _ = timed(trainer.train, device)
    return seconds, []


def _any_tokenizer() -> Any:
    """SFTTrainer wants one, for the ids of its markers."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where losses on the same batches differ."""
    parser = argparse.ArgumentParser(prog="benchmarks lora")
    parser.add_argument("--texts", help="a Parquet file of real texts (default: the demo's)")
    parser.add_argument("--column", default="sentence")
    parser.add_argument("--shape", default="small", help="small, 1b, or a decoder's folder")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args(arguments)
    import torch
    import transformers

    torch.set_num_threads(1)
    vocabulary = _model(options.shape).config.vocab_size
    ids = texts_as_ids(read_texts(options.texts, options.column), options.batch * options.steps, vocabulary)
    data = Items(ids, [5 + len(item_ids) % 2 for item_ids in ids], options.batch)
    print(
        f"ours against transformers {transformers.__version__}, torch {torch.__version__}, one thread, "
        f"process-CPU time, median (spread) of {options.times} alternations; {options.shape}, "
        f"{vocabulary:,} words, batch {options.batch}, {statistics.mean(map(len, ids)):.0f} tokens"
    )
    shape = options.shape
    mine = lambda: ours(shape, data)  # noqa: E731
    mine()
    agreed = row(
        "  Trainer, -100 labels, same kernels",
        options.times,
        mine,
        lambda: by_the_trainer(shape, data, True),
        1.3,
        widest,
        LOSS_BAR,
    )
    agreed &= row(
        "  Trainer, -100 labels, as shipped",
        options.times,
        mine,
        lambda: by_the_trainer(shape, data, False),
        2.2,
        widest,
        LOSS_BAR,
    )
    try:
        import trl
    except ImportError:
        print("  TRL is not installed; make bench sets it up")
    else:
        name = f"  TRL {trl.__version__}'s SFTTrainer, as shipped"
        row(name, options.times, mine, lambda: by_sft(shape, data), 1.4)
    return 0 if agreed else 1
