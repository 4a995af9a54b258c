"""Architectures that are read in a way of their own are published and loaded as the study has them.

In: tiny studies. Out: nothing. Knows nothing of: the hub.
"""

import pytest
from transformers import AutoModelForMaskedLM

from tests.arms.questions import question_recipe
from tests.arms.small import small_recipe
from tests.publish import made
from tests.tiny_models import tiny_config, tiny_model, tiny_tokenizer
from tuneproof.publish.publish_arm import publish_arm

WORDS = {"lora": {"name": "words", "objective": "words"}}


@pytest.mark.parametrize(
    ("kind", "arms"),
    [
        ("longformer", ["head", "lora"]),
        ("mixtral", [WORDS]),
        *(
            pytest.param(kind, arms, marks=pytest.mark.slow)
            for kind, arms in {
                "jamba": ["head", "lora", WORDS],
                "mamba": ["head", WORDS],
                "qwen3_moe": ["lora"],
            }.items()
        ),
    ],
)
def test_an_arm_is_published_as_it_answered(kind, arms, tmp_path, quick) -> None:
    model = tiny_model(tmp_path / kind, kind)
    study = made.ran(small_recipe(tmp_path, [model], arms, train={"epochs": 1}))
    folders = sorted((study / "arms").glob(f"{kind.replace('_', '-')}.*"))
    assert len(folders) == len(arms)
    for folder in folders:
        publish_arm(folder, "me/it", tmp_path / folder.name, base="someone/base")
        if (folder / "weights" / "adapter_config.json").is_file():
            publish_arm(folder, "me/it", tmp_path / f"{folder.name}-merged", merged=True)


def test_a_model_of_one_token_type_reads_pairs_of_a_tokenizer_of_two(tmp_path, quick) -> None:
    tokenizer = tiny_tokenizer("roberta")  # BERT's, as KLUE's RoBERTa has it
    assert set(tokenizer("a", "b", return_token_type_ids=True)["token_type_ids"]) == {0, 1}
    config = tiny_config("roberta", tokenizer)
    config.type_vocab_size = 1
    for part in (AutoModelForMaskedLM.from_config(config), tokenizer):
        part.save_pretrained(tmp_path / "roberta")
    arms = ["head", "full"]
    study = made.ran(question_recipe(tmp_path, [tmp_path / "roberta"], arms, train={"epochs": 1}))
    for arm in ("roberta.head", "roberta.full.seed0"):
        publish_arm(study / "arms" / arm, "me/it", tmp_path / arm)
