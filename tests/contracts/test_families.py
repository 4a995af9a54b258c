"""What every family keeps, on tiny random models of every architecture it serves.

In: the shelf. Out: nothing. Knows nothing of: methods, tasks.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.open_model import open_model
from tests.tiny_models import is_encoder, tiny_model
from tuneproof.data.encode import encode_texts
from tuneproof.data.tokens import pad_batch
from tuneproof.errors import ModelError
from tuneproof.families import FAMILIES, family_of
from tuneproof.families.blocks import blocks_of
from tuneproof.models.heads import base_states, class_logits, head_layer, inner_model, last_linear
from tuneproof.tasks.task import Example

TEXTS = [
    "good",
    "The critic hated the terrible ending and said it was very good.",
    "Nobody watched the film",
    "A tired viewer finished the music and said it was not good at all.",
]
EXAMPLES = [Example(str(index), text, index % 2, str(index)) for index, text in enumerate(TEXTS)]
SERVED = [kind for family in FAMILIES.values() for kind in family.model_types]
UNSERVED = [kind for kind in ("gpt2", "gpt_neox", "qwen2", "phi") if kind not in SERVED][:1]  # family auto
TYPES = [*SERVED, *UNSERVED]
HELPERS = {"__init__", "family", "models", "published", "blocks", "unsupported"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {kind: tiny_model(root / kind, kind) for kind in TYPES}


@pytest.fixture(params=TYPES)
def loaded(request, folders):
    return open_model(folders[request.param], "labels", ["bad", "good"], seed=0)


def encoded(loaded) -> list[np.ndarray]:
    return encode_texts(loaded.tokenizer, loaded.family, EXAMPLES, 64, "end").ids


@torch.inference_mode()
def logits_of(loaded, ids, side="right", pad_id=None) -> torch.Tensor:
    pad_id = loaded.tokenizer.pad_token_id if pad_id is None else pad_id
    return class_logits(loaded.model, loaded.family, pad_batch(ids, pad_id, side))


def test_the_shelf_equals_the_folder() -> None:
    folder = Path(__file__).parents[2] / "src" / "tuneproof" / "families"
    files = {file.stem for file in folder.glob("*.py")} - HELPERS
    assert files == set(FAMILIES)
    assert FAMILIES
    assert all(name == family.name for name, family in FAMILIES.items())
    assert len(SERVED) == len(set(SERVED)), "two families serve one type"
    assert UNSERVED, "the family auto has no tiny model"


def test_the_family_is_found_by_the_configuration(loaded) -> None:
    kind = loaded.config.model_type
    names = [name for name, family in FAMILIES.items() if kind in family.model_types] or ["auto"]
    assert [family_of(loaded.config).name] == names
    assert (loaded.family.kind == "encoder") == is_encoder(kind)


def test_targets_are_the_linear_layers_of_the_blocks_and_no_others(loaded) -> None:
    from transformers.pytorch_utils import Conv1D

    inner = inner_model(loaded.model)
    ends = tuple(loaded.family.adapter_targets(inner))
    blocks = blocks_of(inner)
    linear, targets = set(), set()
    for name, module in inner.named_modules():
        if blocks.holds(name, 0) and isinstance(module, torch.nn.Linear | Conv1D):
            linear.add(name)
        if name in ends or name.endswith(tuple(f".{end}" for end in ends)):
            targets.add(name)
    assert linear
    assert targets == linear


def test_attention_targets_are_some_of_all_targets(loaded) -> None:
    if not loaded.family.attention:
        pytest.skip("the names of its attention layers are not known")
    attention = set(loaded.family.adapter_targets(loaded.model, "attention"))
    assert attention
    if loaded.family.targets != "all-linear":
        assert attention < set(loaded.family.targets)
    with pytest.raises(ModelError, match="has no linear layer nowhere in its blocks"):
        loaded.family.adapter_targets(loaded.model, ["nowhere"])
    assert loaded.family.adapter_targets(loaded.model, sorted(attention)) == sorted(attention)


def test_the_head_is_the_last_linear_layer(loaded) -> None:
    layer = last_linear(head_layer(loaded.model, loaded.family))
    assert layer.out_features == 2
    tops = {name.split(".")[0] for name in loaded.fresh}
    assert loaded.family.head in tops
    assert tops <= set(loaded.family.head_modules) | {"pooler"}


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_move_logits(loaded, side) -> None:
    ids = encoded(loaded)
    alone = torch.cat([logits_of(loaded, [row]) for row in ids])
    together = logits_of(loaded, ids, side)
    assert alone.std() > 1e-3, "the logits say nothing, so the test would"
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_pad_token_does_not_matter(loaded, side) -> None:
    ids = encoded(loaded)
    other = logits_of(loaded, ids, side, pad_id=7)
    torch.testing.assert_close(other, logits_of(loaded, ids, side), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_pad_equal_to_end_of_text_does_not_hide_the_real_end(loaded, side) -> None:
    end = loaded.tokenizer.eos_token_id
    if end is None:
        end = loaded.tokenizer.sep_token_id
    ids = [np.append(row, end) for row in encoded(loaded)]
    alone = torch.cat([logits_of(loaded, [row], pad_id=end) for row in ids])
    torch.testing.assert_close(logits_of(loaded, ids, side, pad_id=end), alone, atol=1e-5, rtol=1e-5)
    if loaded.family.kind == "decoder":
        without = logits_of(loaded, [row[:-1] for row in ids], pad_id=end)
        assert (without - alone).abs().max() > 1e-3, "the last token is what is pooled"


@torch.inference_mode()
def test_pooled_logits_are_the_models_own_on_one_unpadded_row(loaded) -> None:
    row = torch.as_tensor(encoded(loaded)[1])[None]
    inner = inner_model(loaded.model)
    vars(inner.config)["pad_token_id"] = None  # some configurations refuse None
    own = inner(input_ids=row, attention_mask=torch.ones_like(row)).logits
    torch.testing.assert_close(logits_of(loaded, [row[0]]), own, atol=1e-6, rtol=1e-6)


@torch.inference_mode()
def test_hidden_states_of_real_tokens_do_not_depend_on_padding(loaded) -> None:
    ids = encoded(loaded)
    for side in ("left", "right"):
        batch = pad_batch(ids, loaded.tokenizer.pad_token_id, side)
        states = base_states(loaded.model, loaded.family, batch)
        for index, row in enumerate(ids):
            alone = base_states(loaded.model, loaded.family, pad_batch([row], 0, "right"))[0]
            from_left = side == "left" and loaded.family.kind == "decoder"
            here = states[index, -len(row) :] if from_left else states[index, : len(row)]
            torch.testing.assert_close(here, alone, atol=1e-5, rtol=1e-5)


def test_saved_and_loaded_again_gives_equal_logits(loaded, tmp_path) -> None:
    loaded.model.save_pretrained(tmp_path / "again")
    loaded.tokenizer.save_pretrained(tmp_path / "again")
    again = open_model(tmp_path / "again", "labels", ["bad", "good"], seed=99)
    assert again.fresh == ()
    assert again.tokenizer.pad_token_id == loaded.tokenizer.pad_token_id
    ids = encoded(loaded)
    assert torch.equal(logits_of(again, ids), logits_of(loaded, ids))


def test_adapters_and_the_trained_head_are_active_in_the_pooled_logits(loaded) -> None:
    from peft import LoraConfig, TaskType, get_peft_model

    ids = encoded(loaded)
    before = logits_of(loaded, ids)
    wrapped = get_peft_model(
        loaded.model,
        LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=2,
            target_modules=loaded.family.adapter_targets(loaded.model),
            modules_to_save=loaded.family.head_names(loaded.model),
        ),
    ).eval()
    batch = pad_batch(ids, loaded.tokenizer.pad_token_id, "left")
    torch.testing.assert_close(class_logits(wrapped, loaded.family, batch), before)
    class_logits(wrapped, loaded.family, batch).square().sum().backward()
    grads = {n: p.grad for n, p in wrapped.named_parameters() if p.requires_grad}
    assert any("lora_B" in name for name in grads)
    assert any("modules_to_save" in name for name in grads)
    assert all(grad is not None for grad in grads.values())
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
    assert (class_logits(wrapped, loaded.family, batch) - before).abs().max() > 1e-3
