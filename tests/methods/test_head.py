"""The convex fit of a linear head."""

import numpy as np
import pytest
import torch

from tests.arms.small import begin, drain, logits_of, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.arms.probe import load_probe, save_probe
from tuneproof.errors import RunError
from tuneproof.methods.head import Probe, fit_probe
from tuneproof.models.heads import class_logits, head_layer
from tuneproof.models.oom import AtOnce
from tuneproof.models.pooled_features import pooled_features

STRENGTHS = (0.01, 1.0, 10.0)


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
    probe = fit_probe({"mean": train}, labels, {"mean": dev}, dev_labels, STRENGTHS, bias, classes)
    assert probe.weight_CD.shape == (classes, train.shape[1])
    assert probe.bias_C.shape == (classes,)
    assert bool(np.any(probe.bias_C)) == bias
    assert probe.dev_accuracy > 0.95
    found_NC = probe.probabilities(dev)
    np.testing.assert_allclose(found_NC.sum(axis=1), 1)
    gold_N = found_NC[np.arange(len(dev)), dev_labels]
    assert probe.dev_loss == pytest.approx(-np.log(gold_N).mean(), abs=1e-6)
    assert probe.dev_accuracy == (found_NC.argmax(axis=1) == dev_labels).mean()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_fit_is_that_of_scikit_learn(classes) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train, labels = clouds(classes, spread=1.0)
    dev, dev_labels = clouds(classes, seed=1, spread=1.0)
    probe = fit_probe({"m": train}, labels, {"m": dev}, dev_labels, (0.24,), True, classes)
    scale = StandardScaler().fit(train.astype(np.float64))
    fit = LogisticRegression(C=1.0, max_iter=500).fit(scale.transform(train), labels)
    np.testing.assert_allclose(probe.probabilities(dev), fit.predict_proba(scale.transform(dev)), atol=2e-3)


def test_dev_chooses_the_pooling_and_nothing_else_does() -> None:
    good, labels = clouds(2)
    good_dev, dev_labels = clouds(2, seed=1)
    noise = np.random.default_rng(5)
    bad, bad_dev = (noise.normal(size=x.shape).astype(np.float32) for x in (good, good_dev))
    train = {"first": good, "mean": good}
    for best, other in (("first", "mean"), ("mean", "first")):
        dev = {best: good_dev, other: bad_dev}
        assert fit_probe(train, labels, dev, dev_labels, STRENGTHS, True, 2).pooling == best
    # What fits train best does not matter where dev says otherwise.
    train, dev = {"first": bad, "mean": good}, {"first": bad_dev, "mean": good_dev}
    assert fit_probe(train, labels, dev, dev_labels, STRENGTHS, True, 2).pooling == "mean"


def test_dev_chooses_the_strength() -> None:
    random = np.random.default_rng(0)
    train = random.normal(size=(40, 60)).astype(np.float32)
    dev = random.normal(size=(400, 60)).astype(np.float32)
    noisy, noisy_dev = np.arange(40) % 2, np.arange(400) % 2
    weak = fit_probe({"m": train}, noisy, {"m": dev}, noisy_dev, (1e-4, 100.0), True, 2)
    assert weak.strength == 1e-4, "pure noise: the least of it is best"
    found = [
        fit_probe({"m": train}, noisy, {"m": dev}, noisy_dev, (s,), True, 2).dev_loss for s in (1e-4, 100.0)
    ]
    assert weak.dev_loss == min(found)


def test_a_label_that_train_lacks_is_an_error() -> None:
    features, labels = clouds(2)
    with pytest.raises(RunError, match="label number 2"):
        fit_probe({"m": features}, labels, {"m": features}, labels, STRENGTHS, True, 3)


def test_eight_rows_can_be_learned_by_heart() -> None:
    features = np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)
    labels = np.arange(8) % 2
    probe = fit_probe({"m": features}, labels, {"m": features}, labels, (10.0,), True, 2)
    assert probe.dev_loss < 0.1


def test_a_probe_is_read_back_as_it_was_written(tmp_path) -> None:
    features, labels = clouds(3)
    probe = fit_probe({"mean": features}, labels, {"mean": features}, labels, (1.0,), True, 3)
    save_probe(tmp_path, probe)
    again = load_probe(tmp_path)
    assert again.pooling == "mean"
    assert np.array_equal(again.weight_CD, probe.weight_CD)
    assert np.array_equal(again.bias_C, probe.bias_C)
    assert {file.suffix for file in tmp_path.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("labels", [("negative", "positive"), ("negative", "positive", "mixed")])
def test_a_decoders_probe_is_its_own_score_layer(tmp_path, labels) -> None:
    folder = tiny_model(tmp_path / "llama", "llama")
    recipe = small_recipe(tmp_path, [folder], ["full"], labels)
    begun = begin(recipe, "full")
    ready, splits = begun.ready, begun.plan.splits
    features = {}
    for part in ("train", "dev"):
        encoded = ready.encode(part, splits.part(part), recipe.encode)
        features[part] = {}
        for _ in pooled_features(
            begun.model,
            ready.family,
            encoded.ids,
            ready.pad.id,
            ("last",),
            AtOnce(7),
            torch.device("cpu"),
            begun.compute.autocast,
            features[part],
        ):
            pass
    gold = {p: np.array([e.label for e in splits.part(p)]) for p in features}
    probe: Probe = fit_probe(
        features["train"], gold["train"], features["dev"], gold["dev"], STRENGTHS, False, len(labels)
    )
    assert not probe.bias_C.any()
    layer = head_layer(begun.model, ready.family)
    assert layer.bias is None
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(probe.weight_CD))
    found = logits_of(begun.model, ready, begun.objective, 6).double().softmax(-1).numpy()
    np.testing.assert_allclose(found, probe.probabilities(features["train"]["last"][:6]), atol=1e-5)
    ids = ready.encode("dev", splits.dev, recipe.encode).ids[0]
    row = {"input_ids": torch.from_numpy(ids)[None], "attention_mask": torch.ones(1, len(ids)).long()}
    with torch.no_grad():
        own = begun.model.eval()(**row).logits
        ours = class_logits(begun.model, ready.family, {**row, "position_ids": torch.arange(len(ids))[None]})
    torch.testing.assert_close(own, ours, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["distilbert", "bert", "llama"])
@pytest.mark.parametrize("then", ["full", "lora"])
def test_lp_ft_starts_from_the_fitted_head(tmp_path, kind, then) -> None:
    recipe = small_recipe(tmp_path, [tiny_model(tmp_path / kind, kind)], [{"lp-ft": {"then": then}}, "head"])
    begun = begin(recipe, "lp-ft")
    dev = drain(begun.objective.ask(begun.model, begun.plan.splits.dev, "dev"))
    gold_N = dev.probabilities_NC[np.arange(len(dev)), dev.gold_N]
    from tuneproof.arms.probe import fit_model_head
    from tuneproof.models.load import load_model

    model = load_model(
        begun.ready.source,
        begun.ready.config,
        begun.ready.tokenizer,
        begun.ready.family,
        head="labels",
        labels=begun.plan.splits.labels,
        seed=0,
    ).model
    chosen = drain(fit_model_head(model, begun.plan.shared, begun.ready, begun.compute, begun.arm.options))
    assert (dev.predicted_N == dev.gold_N).mean() == chosen["dev_accuracy"]
    assert -np.log(gold_N).mean() == pytest.approx(chosen["dev_loss"], abs=1e-5)
