"""Our loop and the Hugging Face Trainer, step by step on the same batches."""

import pytest
import torch

from tests.train import tiny
from tuneproof.data.batches import plan_batches

ROWS = tiny.make_rows(38)
BATCH = 8
EPOCHS = 2
CASES = {
    "distilbert-labels": (tiny.distilbert, tiny.LABELS),
    "llama-labels": (tiny.llama_head, tiny.LABELS),
    "llama-words": (tiny.llama_words, tiny.WORDS),
}


def run_trainer(model, collate, folder, micro_batch=BATCH, schedule="linear"):
    """(loss, learning rate, gradient norm) a step, as the Trainer logs them."""
    from transformers import Trainer, TrainingArguments

    class InOurOrder(Trainer):
        def get_train_dataloader(self):
            return _Epochs(collate, micro_batch)

    arguments = TrainingArguments(
        str(folder),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=BATCH // micro_batch,
        learning_rate=1e-3,
        weight_decay=0.01,
        lr_scheduler_type=schedule,
        warmup_steps=0.1,
        max_grad_norm=1.0,
        logging_steps=1,
        logging_nan_inf_filter=False,
        optim="adamw_torch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = InOurOrder(model, arguments, train_dataset=ROWS, data_collator=collate)
    trainer.train()
    return [log for log in trainer.state.log_history if "grad_norm" in log]


class _Epochs:
    """The micro-batches of our plan, one epoch after the other."""

    def __init__(self, collate, micro_batch):
        self.collate, self.micro_batch, self.epoch = collate, micro_batch, 0

    def __len__(self):
        return sum(-(-len(b) // self.micro_batch) for b in plan_batches(len(ROWS), BATCH, 0, 0))

    def __iter__(self):
        epoch, self.epoch = self.epoch, self.epoch + 1
        for batch in plan_batches(len(ROWS), BATCH, 0, epoch):
            for start in range(0, len(batch), self.micro_batch):
                yield self.collate([ROWS[i] for i in batch[start : start + self.micro_batch]])


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("name", CASES)
def test_loss_rate_norm_and_weights_are_the_trainers(name, schedule, tmp_path):
    make, objective = CASES[name]
    model, theirs = make(), make()
    steps = list(tiny.train(model, ROWS, objective, epochs=EPOCHS, schedule=schedule))
    logs = run_trainer(theirs, objective[0], tmp_path, schedule=schedule)
    compare(steps, logs, model, theirs)
    assert [step.epoch for step in steps] == pytest.approx([log["epoch"] for log in logs])


@pytest.mark.parametrize("micro_batch", [4, 2])
def test_with_accumulation_words_are_the_trainers(micro_batch, tmp_path):
    model, theirs = tiny.llama_words(), tiny.llama_words()
    steps = list(tiny.train(model, ROWS, tiny.WORDS, epochs=EPOCHS, micro_batch=micro_batch))
    logs = run_trainer(theirs, tiny.collate_words, tmp_path, micro_batch)
    compare(steps, logs, model, theirs)


def test_with_accumulation_the_trainers_labels_are_multiplied_and_ours_are_not(tmp_path):
    """transformers#47688; where this fails, the Trainer was mended, and parity holds here too."""
    ours = list(tiny.train(tiny.distilbert(), ROWS, epochs=EPOCHS, micro_batch=2))
    whole = list(tiny.train(tiny.distilbert(), ROWS, epochs=EPOCHS))
    theirs = run_trainer(tiny.distilbert(), tiny.collate_labels, tmp_path, micro_batch=2)
    assert ours[0].loss == pytest.approx(whole[0].loss, abs=1e-6)
    assert ours[0].gradient_norm == pytest.approx(whole[0].gradient_norm, rel=1e-5)
    times = theirs[0]["grad_norm"] / ours[0].gradient_norm
    assert times == pytest.approx(4, rel=1e-3)


def compare(steps, logs, model, theirs):
    assert len(steps) == len(logs) == 10
    for step, log in zip(steps, logs, strict=True):
        assert step.loss == pytest.approx(log["loss"], abs=1e-5)
        assert step.gradient_norm == pytest.approx(log["grad_norm"], rel=1e-4)
        assert step.learning_rate == pytest.approx(log["learning_rate"], abs=1e-12)
    left, right = tiny.without_key_biases(tiny.weights_of(model)), tiny.weights_of(theirs)
    assert tiny.largest_difference(left, right) < 1e-5
    assert all(torch.isfinite(weight).all() for weight in left.values())
