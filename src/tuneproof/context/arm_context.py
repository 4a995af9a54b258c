"""What the code of one arm needs: study data, arm, model, device, seed, monitor, checkpoints.

In: the parts. Out: one object that is handed on instead of them.
Knows nothing of: how an arm of any kind runs.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tuneproof.context.compute import Compute
from tuneproof.context.model_spec import ModelSpec
from tuneproof.context.monitor import Monitor
from tuneproof.context.study_data import StudyData
from tuneproof.data.splits import Splits
from tuneproof.methods.options import last_layers
from tuneproof.recipe.recipe import Arm, Recipe
from tuneproof.recipe.search import SearchSpace
from tuneproof.tasks.task import Example

if TYPE_CHECKING:
    from tuneproof.models.oom import AdaptiveBatchSize
    from tuneproof.models.resume_log import ResumeLog, ResumeLogs
    from tuneproof.train.resume import CheckpointManager

PACE = {"name", "learning_rate", "epochs", "more_epochs"}  # options that change how far training goes alone
T = TypeVar("T")


@dataclass
class LoadedModel:
    """The model that consecutive prompt arms share: none of them changes it, so it is loaded once.

    tested_tokens: the longest prompt with which it has passed the self-test.
    """

    spec: ModelSpec | None = None
    model: Any = None
    tested_tokens: int = 0

    def get(self, spec: ModelSpec, load: Callable[[], Any]) -> Any:
        """The model of `spec`, loaded where it is not there."""
        if self.spec is not spec:
            self.release()
            self.model, self.spec = load(), spec
        return self.model

    def release(self) -> None:
        """Free the weights."""
        self.spec = self.model = None
        self.tested_tokens = 0


@dataclass(frozen=True)
class ArmContext:
    """One arm with its model, seed and everything that running it takes.

    search: what dev is to choose before the arm trains. steps_file: where training steps are logged.
    checkpoints, resume_logs: where a stopped arm continues from; None: nowhere.
    """

    study: StudyData
    arm: Arm
    spec: ModelSpec
    compute: Compute
    seed: int = 0
    search: SearchSpace | None = None
    monitor: Monitor = field(default_factory=Monitor)
    loaded: LoadedModel = field(default_factory=LoadedModel)
    steps_file: Path | None = None
    checkpoints: "CheckpointManager | None" = None
    resume_logs: "ResumeLogs | None" = None

    @property
    def recipe(self) -> Recipe:
        """The study's recipe, with the settings chosen to fit the memory."""
        return self.study.recipe

    @property
    def splits(self) -> Splits:
        """Train, dev and test as this arm gets them."""
        return self.study.splits

    @property
    def options(self) -> Any:
        """The options of the arm's method."""
        return self.arm.options

    def once(self, name: str, lengths: NDArray[np.int64], work: Callable[[], T]) -> T:
        """The result of work on the arm and its rows of train, which all seeds share: done for the first.

        lengths: of the rows, which differ where seeds draw other shots. A false result is worked out again.
        Where the last layers train, what is below may be cached for one seed and not for another: each works.
        """
        if last_layers(self.options) is not None:
            return work()
        train = self.recipe.train
        options = self.options.model_dump_json(exclude=PACE)
        settings = self.compute.precision, train.micro_batch, train.gradient_checkpointing
        rows = self.study.train_name, len(lengths), int(lengths.sum())
        return self.spec.once(f"{name} {self.arm.method_name} {options} {settings} {rows}", work)

    def test_attention(self) -> AbstractContextManager[None]:
        """The context in which test is predicted: its items may be longer than those of train and dev."""
        return self.attention("test", self.splits.test)

    def attention(self, part: str, examples: Sequence[Example]) -> AbstractContextManager[None]:
        """The context in which a part is predicted that is neither train nor dev."""
        from tuneproof.models.matmul_backend import attention_for

        if self.study.kind == "questions":
            return nullcontext()  # the longest question that is read was counted
        encoded = self.spec.encode(part, examples, self.recipe.encode)
        return attention_for(int(encoded.tokens_N.max()))

    def batch_size(self, resume_log: "ResumeLog | None" = None, count: bool = True) -> "AdaptiveBatchSize":
        """How many items to predict at once, reporting to the monitor.

        count: whether finished items move the progress bar.
        """
        from tuneproof.models.oom import AdaptiveBatchSize

        def on_oom(size: int) -> None:
            self.monitor.message(
                f"Out of memory while predicting {size} items at once. Continuing with half as many; "
                "predictions change by rounding at most.",
                level="warning",
                recorded=True,
            )

        def on_progress(done: int) -> None:
            self.monitor.progress(done if count else 0)

        size = self.recipe.predict.batch_size
        return AdaptiveBatchSize(size, resume_log, on_progress, on_oom)
