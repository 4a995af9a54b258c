"""The demo: reviews written for this project, shipped with the package.

In: the package's own file. Out: rows and a prompt. Knows nothing of: splits, models, the network.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from tuneproof.errors import DataError
from tuneproof.tasks.sentiment import LABELS, METRICS, sentiment_prompt
from tuneproof.tasks.task import Example, Prompt, Rows, Task, TaskOptions

_LICENCE = "Apache-2.0"
DEMO_RECIPE = Path(str(files("tuneproof.tasks").joinpath("demo", "recipe.yaml")))


class DemoOptions(TaskOptions):
    """The demo has no settings."""


def read(options: DemoOptions) -> Rows:
    """The reviews in their fixed train and test parts, grouped by what they are about."""
    file = files("tuneproof.tasks").joinpath("demo", "reviews.jsonl")
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        do = "Install the package again."
        raise DataError("tuneproof/tasks/demo/reviews.jsonl", "does not exist.", do=do) from None
    parts: dict[str, list[Example]] = {"train": [], "test": []}
    for line in data.decode("utf-8").splitlines():
        row = json.loads(line)
        label = LABELS.index(row["label"])
        example = Example(row["id"], row["text"], label, row["group"], (row["domain"],))
        parts[row["part"]].append(example)
    digest = hashlib.sha256(data).hexdigest()
    source = {"name": "reviews written for tuneproof", "sha256": digest, "licence": _LICENCE}
    return Rows(parts=parts, labels=LABELS, source=source, grouped=True, columns=("domain",))


def demo_prompt(options: DemoOptions, labels: Sequence[str]) -> Prompt:
    """A sentence to continue: the demo's model has read reviews, never instructions.

    Chosen on the train part, where "Sentiment:" separates the labels no better than chance.
    """
    prompt = sentiment_prompt(options, labels)
    return replace(prompt, instruction="", template="{text} It was", words=("terrible", "great"))


TASK = Task(
    name="demo",
    version=1,
    kind="labels",
    title="Demo: short reviews written for this project",
    options=DemoOptions,
    read=read,
    prompt=demo_prompt,
    labels=LABELS,
    metrics=METRICS,
    paper="none: written for tuneproof",
    licence=_LICENCE,
)
