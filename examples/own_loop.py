"""The training loop in your own code: `fit` yields steps, everything else is your next line.

python examples/own_loop.py MODEL_FOLDER reviews.csv TEXT_COLUMN LABEL_COLUMN
"""

import sys
from pathlib import Path

import numpy as np

from tuneproof.context.arm_context import ArmContext
from tuneproof.context.compute import make_compute
from tuneproof.context.model_spec import make_model_spec
from tuneproof.context.study_data import StudyData
from tuneproof.data.batches import collate_epoch, count_batches
from tuneproof.data.splits import make_splits
from tuneproof.models.load import load_model
from tuneproof.objectives.make import make_objective
from tuneproof.recipe.recipe import recipe_from
from tuneproof.train.loop import fit
from tuneproof.train.optimizer import make_optimizer, make_schedule

model_folder, file, text, label = sys.argv[1:5]
task = {"labels": {"path": file, "text": text, "label": label}}
recipe = recipe_from({"task": task, "models": [model_folder], "arms": ["full"]})
splits = make_splits(recipe.task, recipe.task.read(recipe.task_options), recipe.split)
spec = make_model_spec(recipe.models[0], recipe.encode)
compute = make_compute(recipe.compute, spec.max_length)
study = StudyData(recipe, splits, recipe.task.prompt(recipe.task_options, splits.labels), Path("cache"))
objective = make_objective(ArmContext(study, recipe.arms[0], spec, compute))
model = load_model(
    spec.source, spec.config, spec.tokenizer, spec.family, head="labels", labels=splits.labels
).model
ids = [example.id for example in splits.train]
steps = count_batches(len(ids), 16)
for step in fit(
    model,
    lambda epoch: collate_epoch(ids, objective.collate, 16, 0, epoch),
    objective.loss,
    objective.count,
    make_optimizer(model, learning_rate=5e-5, weight_decay=0.01),
    make_schedule("linear", 2 * steps, warmup_share=0.06),
    epochs=2,
    steps_per_epoch=steps,
    clip_norm=1.0,
    seed=0,
    accelerator=compute.accelerator,
):
    if step.step % 10 == 0:
        print(f"step {step.step}: loss {step.loss:.3f}, {step.tokens_per_s:,.0f} tokens/s")
predictions = objective.predict(model, splits.test, "test")
print(f"test accuracy {np.mean(predictions.predicted_N == predictions.gold_N):.3f}")
