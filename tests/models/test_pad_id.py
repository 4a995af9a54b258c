"""The padding index that an encoder counts its positions from stays the checkpoint's.

In: tiny encoders whose tokenizer pads with another token. Out: nothing. Knows nothing of: the pipeline.
"""

import json

import pytest
import torch
from transformers import AutoModel

from tests.open_model import open_model
from tests.tiny_models import tiny_model
from tuneproof.models.heads import base_states


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "camembert", "data2vec-text", "ibert", "bert"])
@pytest.mark.parametrize("pad_id", [1, 3])
def test_hidden_states_are_those_of_transformers(tmp_path, kind, pad_id) -> None:
    folder = tiny_model(tmp_path / kind, kind)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token_id": pad_id}))
    opened = open_model(folder, "base")
    batch = opened.tokenizer(["She liked the film.", "bad"], padding=True, return_tensors="pt")
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    plain = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        ours, theirs = base_states(opened.model, opened.family, batch), plain(**batch)[0]
    mask = batch["attention_mask"].bool()
    torch.testing.assert_close(ours[mask], theirs[mask])
    assert opened.tokenizer.pad_token_id == 0
    opened.model.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["pad_token_id"] == pad_id
