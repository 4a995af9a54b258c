"""A head over spans: what it learns, and what its null slot reads."""

from pathlib import Path

import numpy as np
import pytest

from tests.arms.questions import question_models, question_recipe
from tests.arms.small import context_of
from tuneproof.arms.tuned import head_of
from tuneproof.models.load import load_model
from tuneproof.objectives.make import make_objective
from tuneproof.objectives.span import SpanObjective
from tuneproof.study.plan import check
from tuneproof.train.optimizer import make_optimizer


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    return question_models(tmp_path_factory.mktemp("models"), ("bert", "distilbert", "llama"))


@pytest.mark.parametrize("kind", ["bert", "distilbert", "llama"])
def test_eight_windows_can_be_learned_by_heart(models, tmp_path, kind):
    recipe = question_recipe(tmp_path, [models[kind]], ["majority", "full"], encode={"max_length": 96})
    plan = check(recipe)
    context = context_of(plan, "full", longest=96)
    spec, objective = context.spec, make_objective(context)
    assert isinstance(objective, SpanObjective)
    head = head_of(context.arm, "questions")
    model = load_model(spec.source, spec.config, spec.tokenizer, spec.family, head=head, seed=0).model
    part = objective.collate(np.arange(8))
    optimizer = make_optimizer(model, 5e-3, 0.0)
    for _ in range(200):
        optimizer.zero_grad()
        loss = objective.loss(model, part)
        (loss.sum / loss.count).backward()
        optimizer.step()
        if float(loss.sum) / loss.count < 0.02:
            break
    items = [plan.study.splits.train[window.item] for window in objective.train.windows[:8]]
    answers = objective.predict(model, items, "eight")
    assert answers.right_N.all(), list(zip(answers.texts, answers.golds, strict=True))
    assert {bool(text) for text in answers.texts} == {True, False}, "both kinds are learnt"


def test_a_causal_null_slot_has_read_the_context(models, tmp_path):
    """The first position of a causal model would give the same score to every question."""
    recipe = question_recipe(tmp_path, [models["llama"]], ["majority", "full"])
    plan = check(recipe)
    context = context_of(plan, "full", longest=224)
    spec, objective, test = context.spec, SpanObjective(context), plan.study.splits.test
    model = load_model(spec.source, spec.config, spec.tokenizer, spec.family, head="span", seed=0).model
    spans = objective._spans(model, objective.encode("test", test), test)
    assert spans.null_W.std() > 1e-3
    assert objective.predict(model, test, "test").null_N.std() > 1e-3
