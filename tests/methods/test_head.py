"""The convex fit of a linear head."""

import numpy as np
import pytest
import torch

from tests.arms.small import logits_of, prepare_arm, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.arms.probe import load_head, save_head
from tuneproof.errors import RunError
from tuneproof.methods.head import HeadOptions, fit_logistic_head
from tuneproof.methods.linear_head import HeadData, LinearHead
from tuneproof.models.heads import class_logits, head_layer
from tuneproof.models.oom import AdaptiveBatchSize
from tuneproof.models.pooled_features import pooled_features

STRENGTHS = (0.01, 1.0, 10.0)


def fit(train, labels, dev, dev_labels, strengths, bias: bool, classes: int) -> LinearHead:
    data = HeadData(train, labels, dev, dev_labels, bias, classes)
    return fit_logistic_head(HeadOptions(strengths=strengths), data)


def clouds(classes: int, count: int = 240, width: int = 6, seed: int = 0, spread: float = 3.0):
    random = np.random.default_rng(seed)
    labels_N = np.arange(count) % classes
    centres = np.random.default_rng(99).normal(size=(classes, width)) * spread
    features_ND = centres[labels_N] + random.normal(size=(count, width)) + 1.5
    return features_ND.astype(np.float32), labels_N


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_classes_that_lie_apart_are_told_apart(classes, bias) -> None:
    train, labels = clouds(classes)
    dev, dev_labels = clouds(classes, seed=1)
    probe = fit({"mean": train}, labels, {"mean": dev}, dev_labels, STRENGTHS, bias, classes)
    assert probe.weight_CD.shape == (classes, train.shape[1])
    assert probe.bias_C.shape == (classes,)
    assert bool(np.any(probe.bias_C)) == bias
    assert probe.chosen["dev_accuracy"] > 0.95
    probabilities_NC = probe.probabilities(dev)
    np.testing.assert_allclose(probabilities_NC.sum(axis=1), 1)
    gold_N = probabilities_NC[np.arange(len(dev)), dev_labels]
    assert probe.chosen["dev_loss"] == pytest.approx(-np.log(gold_N).mean(), abs=1e-6)
    assert probe.chosen["dev_accuracy"] == (probabilities_NC.argmax(axis=1) == dev_labels).mean()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_fit_is_that_of_scikit_learn(classes) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train, labels = clouds(classes, spread=1.0)
    dev, dev_labels = clouds(classes, seed=1, spread=1.0)
    probe = fit({"m": train}, labels, {"m": dev}, dev_labels, (0.24,), True, classes)
    scale = StandardScaler().fit(train.astype(np.float64))
    reference = LogisticRegression(C=1.0, max_iter=500).fit(scale.transform(train), labels)
    np.testing.assert_allclose(
        probe.probabilities(dev), reference.predict_proba(scale.transform(dev)), atol=2e-3
    )


def test_dev_chooses_the_pooling_and_nothing_else_does() -> None:
    good, labels = clouds(2)
    good_dev, dev_labels = clouds(2, seed=1)
    noise = np.random.default_rng(5)
    bad, bad_dev = (noise.normal(size=x.shape).astype(np.float32) for x in (good, good_dev))
    train = {"first": good, "mean": good}
    for best, other in (("first", "mean"), ("mean", "first")):
        dev = {best: good_dev, other: bad_dev}
        assert fit(train, labels, dev, dev_labels, STRENGTHS, True, 2).pooling == best
    # What fits train best does not matter where dev says otherwise.
    train, dev = {"first": bad, "mean": good}, {"first": bad_dev, "mean": good_dev}
    assert fit(train, labels, dev, dev_labels, STRENGTHS, True, 2).pooling == "mean"


def test_dev_chooses_the_strength() -> None:
    random = np.random.default_rng(0)
    train = random.normal(size=(40, 60)).astype(np.float32)
    dev = random.normal(size=(400, 60)).astype(np.float32)
    noisy, noisy_dev = np.arange(40) % 2, np.arange(400) % 2
    weak = fit({"m": train}, noisy, {"m": dev}, noisy_dev, (1e-4, 100.0), True, 2)
    assert weak.chosen["strength"] == 1e-4, "pure noise: the least of it is best"
    losses = [
        fit({"m": train}, noisy, {"m": dev}, noisy_dev, (s,), True, 2).chosen["dev_loss"]
        for s in (1e-4, 100.0)
    ]
    assert weak.chosen["dev_loss"] == min(losses)


def test_a_label_that_train_lacks_is_an_error() -> None:
    features, labels = clouds(2)
    with pytest.raises(RunError, match="label number 2"):
        fit({"m": features}, labels, {"m": features}, labels, STRENGTHS, True, 3)


def test_eight_rows_can_be_learned_by_heart() -> None:
    features = np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)
    labels = np.arange(8) % 2
    probe = fit({"m": features}, labels, {"m": features}, labels, (10.0,), True, 2)
    assert probe.chosen["dev_loss"] < 0.1


def test_a_probe_is_read_back_as_it_was_written(tmp_path) -> None:
    features, labels = clouds(3)
    probe = fit({"mean": features}, labels, {"mean": features}, labels, (1.0,), True, 3)
    save_head(tmp_path, probe)
    again = load_head(tmp_path)
    assert again.pooling == "mean"
    assert np.array_equal(again.weight_CD, probe.weight_CD)
    assert np.array_equal(again.bias_C, probe.bias_C)
    assert {file.suffix for file in tmp_path.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("labels", [("negative", "positive"), ("negative", "positive", "mixed")])
def test_a_decoders_probe_is_its_own_score_layer(tmp_path, labels) -> None:
    folder = tiny_model(tmp_path / "llama", "llama")
    recipe = small_recipe(tmp_path, [folder], ["full"], labels)
    prepared = prepare_arm(recipe, "full")
    spec, splits = prepared.spec, prepared.plan.splits
    features = {}
    for part in ("train", "dev"):
        encoded = spec.encode(part, splits.part(part), recipe.encode)
        features[part] = pooled_features(
            prepared.model,
            spec.family,
            encoded.ids,
            spec.pad.id,
            ("last",),
            AdaptiveBatchSize(7),
            torch.device("cpu"),
            prepared.compute.autocast,
        )
    gold = {p: np.array([e.label for e in splits.part(p)]) for p in features}
    probe = fit(features["train"], gold["train"], features["dev"], gold["dev"], STRENGTHS, False, len(labels))
    assert not probe.bias_C.any()
    layer = head_layer(prepared.model, spec.family)
    assert layer.bias is None
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(probe.weight_CD))
    probabilities_NC = logits_of(prepared.model, spec, prepared.objective, 6).double().softmax(-1).numpy()
    np.testing.assert_allclose(
        probabilities_NC, probe.probabilities(features["train"]["last"][:6]), atol=1e-5
    )
    ids = spec.encode("dev", splits.dev, recipe.encode).ids[0]
    row = {"input_ids": torch.from_numpy(ids)[None], "attention_mask": torch.ones(1, len(ids)).long()}
    with torch.no_grad():
        own = prepared.model.eval()(**row).logits
        ours = class_logits(
            prepared.model, spec.family, {**row, "position_ids": torch.arange(len(ids))[None]}
        )
    torch.testing.assert_close(own, ours, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["distilbert", "bert", "llama"])
@pytest.mark.parametrize("then", ["full", "lora"])
def test_lp_ft_starts_from_the_fitted_head(tmp_path, kind, then) -> None:
    recipe = small_recipe(tmp_path, [tiny_model(tmp_path / kind, kind)], [{"lp-ft": {"then": then}}, "head"])
    prepared = prepare_arm(recipe, "lp-ft")
    dev = prepared.objective.predict(prepared.model, prepared.plan.splits.dev, "dev")
    gold_N = dev.probabilities_NC[np.arange(len(dev)), dev.gold_N]
    from tuneproof.arms.probe import fit_model_head
    from tuneproof.models.load import load_model

    model = load_model(
        prepared.spec.source,
        prepared.spec.config,
        prepared.spec.tokenizer,
        prepared.spec.family,
        head="labels",
        labels=prepared.plan.splits.labels,
        seed=0,
    ).model
    chosen = fit_model_head(prepared.context, model)
    assert (dev.predicted_N == dev.gold_N).mean() == chosen["dev_accuracy"]
    assert -np.log(gold_N).mean() == pytest.approx(chosen["dev_loss"], abs=1e-5)
