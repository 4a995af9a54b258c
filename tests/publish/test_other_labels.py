"""An adapter on a classifier of another number of labels is published, beside its base and merged.

In: a tiny study. Out: nothing. Knows nothing of: the hub.
"""

import pytest
from transformers import AutoModelForSequenceClassification

from tests.arms.small import small_recipe
from tests.publish import made
from tests.tiny_models import tiny_model
from tuneproof.publish.publish_arm import publish_arm


@pytest.mark.parametrize("kind", ["roberta", "llama"])
def test_an_adapter_on_a_base_of_five_labels_is_published(kind, tmp_path, quick) -> None:
    model = tiny_model(tmp_path / kind, kind)
    AutoModelForSequenceClassification.from_pretrained(model, num_labels=5).save_pretrained(model)
    study = made.ran(small_recipe(tmp_path, [model], ["majority", "lora"], train={"epochs": 1}))
    arm = study / "arms" / f"{kind}.lora.seed0"
    publish_arm(arm, "me/it", tmp_path / "beside", base="someone/base")
    publish_arm(arm, "me/it", tmp_path / "merged", merged=True)
    assert "ignore_mismatched_sizes=True" in (tmp_path / "beside" / "README.md").read_text()
    assert "ignore_mismatched_sizes=True" not in (tmp_path / "merged" / "README.md").read_text()
