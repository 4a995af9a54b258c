"""What a model cannot be used for is an error before its weights load."""

import pytest

import tuneproof.context.model_spec as room
from tests.arms.questions import question_models, question_recipe
from tests.tiny_models import tiny_model
from tuneproof.context.model_spec import declare_model_spec, make_model_spec
from tuneproof.errors import RecipeError
from tuneproof.models import checkpoint_files
from tuneproof.recipe.recipe import ModelChoice
from tuneproof.settings import EncodeSettings
from tuneproof.study.plan import check


@pytest.mark.parametrize(
    ("kind", "arm", "error"),
    [
        ("bert", "zero-shot", "is an encoder: it writes no answers. Use head, lora or full."),
        ("gemma2", "full", "has no question-answering head for gemma2. Use lora or full with"),
        ("llama", {"head": {"pooling": "mean"}}, "A head over spans reads every token."),
        ("bert", {"full": {"objective": "words"}}, "it continues no words"),
    ],
)
def test_an_arm_that_a_model_cannot_run_is_refused_before_it_loads(tmp_path, kind, arm, error):
    models = question_models(tmp_path, [kind])
    with pytest.raises(RecipeError, match=error):
        check(question_recipe(tmp_path, [models[kind]], ["majority", arm]))


def test_a_model_of_the_catalog_that_is_not_pinned_is_said_not_to_be(tmp_path, monkeypatch):
    folder = tiny_model(tmp_path / "0123456789abcdef", "modernbert-decoder")
    for module in (room, checkpoint_files):
        monkeypatch.setattr(module, "download_model", lambda source, weights: folder)
    monkeypatch.setattr(room, "weight_names", lambda source: set())
    choice = ModelChoice(id="ettin-decoder-17m")
    note = "ettin-decoder-17m is not pinned: the hub's main branch is used, now 0123456789ab."
    assert note in make_model_spec(choice, EncodeSettings()).notes
    assert not make_model_spec(ModelChoice(id="ettin-decoder-17m", revision="step1"), EncodeSettings()).notes
    declared = declare_model_spec(choice, EncodeSettings())
    assert declared.notes == (
        "Not downloaded; jhu-clsp/ettin-decoder-17m, not pinned, as tuneproof knows it.",
    )
