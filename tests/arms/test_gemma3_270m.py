"""On the real Gemma-3-270M studies repeat to the bit, and LoRA starts from the plain model's loss."""

import pytest

from tests.arms.small import results, steps_of
from tests.gemma3_270m import SST2, gemma_recipe, needs_gemma, plain_log_prob, sentiment_prompt
from tests.monitoring import run_recorded
from tests.open_model import SHARED
from tuneproof.study.plan import check

pytestmark = needs_gemma
KINDS = ("entity", "description of something", "human being", "numeric value", "location", "abbreviation")
TREC = {
    "labels": {
        "path": str(SHARED / "data" / "other" / "trec.parquet"),
        "labels": ["ENTY", "DESC", "HUM", "NUM", "LOC", "ABBR"],
        "words": list(KINDS),
        "instruction": "What does the question ask for?",
        "template": "{text}\nKind:",
    }
}


def trec_prompt(text: str) -> str:
    return f"What does the question ask for?\n\n{text}\nKind:"


def test_zero_shot_and_few_shot_repeat_to_the_bit(tmp_path) -> None:
    arms = ["zero-shot", {"few-shot": {"shots": 8}}]
    split = {"train_size": 200, "dev_size": 8, "test_size": 40}
    first, second = (gemma_recipe(SST2, arms, tmp_path / name, split=split) for name in ("a", "b"))
    for recipe in (first, second):
        run_recorded(recipe)
    for name in ("zero-shot", "few-shot"):
        assert results(first, name) == results(second, name)
        assert results(first, name)["predictions.parquet"]


@pytest.mark.parametrize(
    ("task", "prompt", "words"),
    [(SST2, lambda text: sentiment_prompt([], text), ("negative", "positive")), (TREC, trec_prompt, KINDS)],
    ids=["labels of one token", "labels of several tokens"],
)
def test_the_first_loss_of_lora_on_words_is_the_plain_cross_entropy_of_the_labels_tokens(
    task, prompt, words, tmp_path, record_property
) -> None:
    """Its adapters start at zero; the batch is all of train, in micro-batches of five, five, five and one."""
    recipe = gemma_recipe(
        task,
        [{"lora": {"objective": "words", "learning_rate": 1e-4}}],
        tmp_path / "study",
        split={"train_size": 16, "dev_size": 8, "test_size": 8},
        train={"epochs": 1, "min_steps": 0, "batch_size": 16, "micro_batch": 5},
    )
    train = check(recipe).study.splits.train
    assert len(train) == 16
    run_recorded(recipe)
    (step,) = steps_of(recipe, "lora")
    pairs = [plain_log_prob(prompt(item.text), f" {words[item.label]}") for item in train]
    plain = -sum(log for log, _ in pairs) / sum(count for _, count in pairs)
    difference = abs(step["loss"] - plain)
    record_property("difference", difference)
    print(f"loss {step['loss']:.6f}, plain {plain:.6f}: difference {difference:.1e}")
    assert difference < 1e-5
