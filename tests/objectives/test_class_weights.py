"""Classes that weigh differently: one step is the same however its batch is divided."""

import numpy as np
import pytest
import torch

from tests.arms.small import prepare_arm, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.data.batches import Batch
from tuneproof.objectives.head import dev_values, unit_weights
from tuneproof.train.gradients import accumulate_gradients

WEIGHTS = {"negative": 0.3, "positive": 4}
ARMS = {
    "head": ("distilbert", {"full": {"name": "arm"}}),
    "words": ("llama", {"lora": {"objective": "words", "name": "arm"}}),
}


@pytest.fixture(scope="module", params=ARMS)
def prepared(request, tmp_path_factory):
    """An arm just before its first step, with and without class weights."""
    folder, (model, arm) = tmp_path_factory.mktemp(request.param), ARMS[request.param]
    path = tiny_model(folder / "model", model)
    arms = [
        prepare_arm(small_recipe(folder, [path], [arm], train={"class_weights": weights}), "arm")
        for weights in (WEIGHTS, None)
    ]
    for arm in arms:
        arm.model.eval()
    return arms


def gradients_of(arm, parts, total=None):
    collated = tuple(arm.objective.collate(np.array(part)) for part in parts)
    ids = tuple(arm.objective.item_ids[item] for part in parts for item in part)
    own = sum(arm.objective.count(part) for part in collated)
    arm.model.zero_grad()
    totals = accumulate_gradients(
        arm.model, Batch(ids, collated), arm.objective.loss, total or own, arm.compute.accelerator, 0, own
    )
    gradients = {name: p.grad.clone() for name, p in arm.model.named_parameters() if p.grad is not None}
    return gradients, float(totals.loss), own


def assert_equal(ours, others):
    assert ours.keys() == others.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, others[name], rtol=1e-4, atol=1e-6)


def test_micro_batches_of_unequal_weight_give_the_step_of_one_batch(prepared):
    weighted, _ = prepared
    whole = gradients_of(weighted, [range(8)])
    for parts in ([range(4), range(4, 8)], [range(5), [5], [6, 7]], [[item] for item in range(8)]):
        split = gradients_of(weighted, parts)
        assert_equal(split[0], whole[0])
        assert split[1] == pytest.approx(whole[1], rel=1e-5)


def test_two_processes_with_unequal_weights_add_up_to_the_step_of_one(prepared):
    weighted, _ = prepared
    whole, loss, total = gradients_of(weighted, [range(8)])
    shards = [gradients_of(weighted, [shard], total) for shard in ([0, 1, 2, 3, 4, 5], [6, 7])]
    summed = {name: shards[0][0][name] + shards[1][0][name] for name in whole}
    assert_equal(summed, whole)
    assert sum(shard[1] for shard in shards) == pytest.approx(loss, rel=1e-5)
    assert sum(shard[2] for shard in shards) == pytest.approx(total)


def test_the_loss_is_the_mean_of_the_items_losses_by_their_weights(prepared):
    weighted, plain = prepared
    items = [gradients_of(plain, [[item]]) for item in range(8)]
    labels = [example.label for example in weighted.context.splits.train[:8]]
    assert set(labels) == {0, 1}
    units = np.array([WEIGHTS["negative"] if label == 0 else WEIGHTS["positive"] for label in labels])
    units *= [item[2] for item in items]  # of words, an item has several
    loss = gradients_of(weighted, [range(8)])[1]
    assert loss == pytest.approx(np.average([item[1] for item in items], weights=units), rel=1e-5)


def test_dev_chooses_by_the_loss_that_train_minimises(prepared):
    weighted, plain = prepared
    dev = weighted.context.splits.dev
    predictions = weighted.objective.predict(weighted.model, dev, "dev")
    values = weighted.objective.evaluate(weighted.model, dev)
    losses_N = -np.log(predictions.probabilities_NC[np.arange(len(dev)), predictions.gold_N])
    weights_N = np.where(predictions.gold_N == 0, WEIGHTS["negative"], WEIGHTS["positive"])
    assert values["dev_loss"] == pytest.approx(np.average(losses_N, weights=weights_N))
    assert values["dev_accuracy"] == dev_values(predictions)["dev_accuracy"]
    assert plain.objective.evaluate(weighted.model, dev)["dev_loss"] == pytest.approx(losses_N.mean())


def test_without_class_weights_a_batch_holds_none():
    assert unit_weights(None, np.array([0, 1])) == {}
