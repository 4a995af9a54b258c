"""Baselines of labels are published as scikit-learn's own objects: no pickle, none of our code."""

import shutil
import sys

import numpy as np
import pytest

from tuneproof.errors import RecipeError, RunError
from tuneproof.publish import gate
from tuneproof.publish.load_code import SKOPS
from tuneproof.publish.publish_arm import publish_arm
from tuneproof.publish.skops_file import holds_weights, write_skops
from tuneproof.record.study_folder import WEIGHTS

LICENCE = "apache-2.0"


@pytest.fixture(scope="module")
def lexical(tmp_path_factory):
    """A study of majority and lexical with texts that NFKC changes."""
    from tests.arms.small import small_recipe
    from tests.publish.made import ran

    return ran(small_recipe(tmp_path_factory.mktemp("lexical"), [], ["majority", "lexical"]))


@pytest.mark.parametrize("arm", ["majority", "lexical"])
def test_a_baseline_reproduces_the_study_to_the_bit(lexical, arm, tmp_path, quick):
    result = publish_arm(lexical / "arms" / arm, "me/it", tmp_path / "to", licence=LICENCE)
    assert result.gate.difference == 0
    assert result.gate.items >= 12
    card = (tmp_path / "to" / "README.md").read_text()
    assert "skops.io.load" in card
    assert "library_name: sklearn" in card
    assert f"license: {LICENCE}" in card
    assert "transformers" not in card


def test_the_cards_lines_run_in_a_fresh_process(lexical, tmp_path):
    result = publish_arm(lexical / "arms" / "lexical", "me/it", tmp_path / "to")
    assert result.gate.difference == 0
    assert "No licence was named" in (tmp_path / "to" / "README.md").read_text()


def test_texts_of_any_script_get_the_arms_probabilities(lexical, tmp_path):
    import unicodedata

    import skops.io

    import tuneproof

    texts = ["Ｇｏｏｄ ﬁlm :-) 😀", "İstanbul $5 <3", "它很好!", "cafe\u0301 +1"]
    arm = lexical / "arms" / "lexical"
    write_skops(arm / WEIGHTS, tuneproof.load(arm).labels, tmp_path / SKOPS)
    assert skops.io.get_untrusted_types(file=tmp_path / SKOPS) == []
    model = skops.io.load(tmp_path / SKOPS)
    theirs = model.predict_proba([unicodedata.normalize("NFKC", text) for text in texts])
    np.testing.assert_array_equal(theirs, tuneproof.load(arm).predict(texts).probabilities_NC)
    assert list(model.classes_) == list(tuneproof.load(arm).labels)


def test_a_file_with_another_weight_is_refused_though_no_sampled_prediction_changes(
    lexical, tmp_path, quick, monkeypatch
):
    monkeypatch.setattr(gate, "holds_weights", lambda file, weights: False)
    with pytest.raises(RunError, match="holds other weights"):
        publish_arm(lexical / "arms" / "lexical", "me/it", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_the_weights_are_compared_to_the_bit(lexical, tmp_path):
    weights = lexical / "arms" / "lexical" / WEIGHTS
    write_skops(weights, ("a", "b"), tmp_path / SKOPS)
    assert holds_weights(tmp_path / SKOPS, weights)
    from safetensors.numpy import load_file, save_file

    shutil.copytree(weights, tmp_path / "other")
    tensors = load_file(tmp_path / "other" / "baseline.safetensors")
    tensors["weight"].flat[0] = np.nextafter(tensors["weight"].flat[0], 1)
    save_file(tensors, tmp_path / "other" / "baseline.safetensors")
    assert not holds_weights(tmp_path / SKOPS, tmp_path / "other")


def test_without_skops_the_error_says_what_to_install(lexical, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"pip install 'tuneproof\[skops\]'"):
        publish_arm(lexical / "arms" / "lexical", "me/it", tmp_path / "to")


def test_a_baseline_of_questions_has_nothing_to_publish(questions, tmp_path):
    with pytest.raises(RecipeError, match="majority has no weights of its own"):
        publish_arm(questions / "arms" / "majority", "me/it", tmp_path / "to")


@pytest.mark.parametrize("options", [{"merged": True}, {"base": "someone/base"}])
def test_a_baseline_has_no_base(lexical, tmp_path, options):
    with pytest.raises(RecipeError, match=r"has no base\. Omit --merged and --base"):
        publish_arm(lexical / "arms" / "lexical", "me/it", tmp_path / "to", **options)
