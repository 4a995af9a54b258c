"""The settings of all stages, each declared once: name, type, default, bounds, meaning and unit.

In: nothing. Out: one frozen class per stage; a recipe holds one of each.
Knows nothing of: files, models, what a setting does.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from tuneproof.errors import RecipeError

MIN_TIMING_S, MAX_TIMING_S = 2.0, 5.0  # of an arm's predictions, where the recipe does not say
UNITS = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", start=1)},
}

DEFAULT_EPOCHS, DEFAULT_MIN_STEPS = 3, 300  # by `python -m benchmarks defaults`


def parse_memory_size(text: str, where: str) -> int:
    """Bytes in "15GB" (15 · 10⁹) or "15GiB" (15 · 2³⁰). Raises: RecipeError if it is not an amount."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*", text)
    unit = {name.lower(): size for name, size in UNITS.items()}.get(match[2].lower()) if match else None
    size = round(float(match[1]) * unit) if match and unit else 0
    if size < 1:
        problem = f"{text!r} is not an amount of memory."
        raise RecipeError(where, problem, f"Units: {', '.join(UNITS)}.", "Write 15GB, 16GiB or auto.")
    return size


class DescribedModel(BaseModel):
    """Frozen fields, each described by the string below it; unknown keys are errors."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Put the descriptions on one line, before the schema is built."""
        for field in cls.__pydantic_fields__.values():
            field.description = " ".join(field.description.split()) if field.description else None


class Settings(DescribedModel):
    """Frozen settings; unknown keys, infinity and a boolean for a number are errors."""

    model_config = ConfigDict(allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_bool_for_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind is not bool and bool not in get_args(kind):
            raise ValueError("it cannot be true or false")
        return value


def as_label_names(values: Mapping[Any, Any]) -> dict[str, Any]:
    """The mapping with its keys as labels are spelled in files: YAML reads 1 and true as other types."""
    return {str(key).lower() if isinstance(key, bool) else str(key): value for key, value in values.items()}


def is_number(value: Any) -> bool:
    """Whether this is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class SplitSettings(Settings):
    """How items are split into train, dev (chooses) and test (reports)."""

    kind: Literal["auto", "official", "shares"] = "auto"
    """official: use the test set of the source; shares: divide all items by `shares`; auto: official if the
    source has a test set, otherwise shares."""
    shares: tuple[float, ...] = Field((80.0, 20.0), min_length=2, max_length=3)
    """train:test or train:dev:test as positive numbers, which need not add up to 100. With two numbers, dev
    is cut from train by `dev_share`."""
    dev_share: float = Field(0.1, gt=0, lt=1)
    """Share of train that becomes dev if the source has no dev part."""
    leak_safe: bool = True
    """Keep groups together, and drop train items that give away a dev or test item. false: a plain random
    split, as in most projects; the report then shows the overlap."""
    group_by: Literal["source", "similarity"] = "source"
    """source: groups are those of the source, e.g. of a column; similarity: texts that look alike (three
    fifths of their words in common, or nine tenths of the shorter one's in the other) are one group too, and
    stay in one part."""
    seed: int = Field(0, ge=0)
    """Seed of the split and of the subsets below."""
    balance_train: bool = False
    """Drop random items of the larger classes from train until all labels are equally frequent. Dropped items
    are counted; dev and test keep their proportions."""
    train_size: int | None = Field(None, ge=2)
    """Maximum number of train items, sampled stratified by label."""
    dev_size: int | None = Field(None, ge=2)
    """Maximum number of dev items, sampled the same way."""
    test_size: int | None = Field(None, ge=2)
    """Maximum number of test items, sampled the same way."""
    sample_unit: Literal["item", "paragraph", "group"] = "item"
    """What the sizes above sample: single items; for questions, all questions on a paragraph together; or
    whole groups. Units are added in the order of their first item while they fit."""


class EncodeSettings(Settings):
    """How texts become tokens."""

    max_length: int = Field(256, ge=8, le=131072)
    """Maximum number of tokens per item, including the prompt."""
    truncate: Literal["end", "start", "middle"] = "end"
    """Where to cut a text that is too long. middle keeps the first quarter and the last three quarters of the
    tokens that fit (Sun et al. 2019, arXiv:1905.05583, section 5.3.1). The prompt and the label are never
    cut."""
    stride: int = Field(96, ge=0, le=65536)
    """Questions, span head: tokens shared by neighbouring windows of a long context. An answer longer than
    this may not fit whole into any window."""
    answer_tokens: int = Field(30, ge=1, le=1024)
    """Questions and written answers: maximum number of tokens in an answer."""
    chat: Literal["auto", "never"] = "auto"
    """auto: use the chat template of the model if it has one; never: plain prompts."""


class TrainSettings(Settings):
    """How arms are trained; the learning rate is an option of the method."""

    epochs: int | None = Field(None, ge=1, le=1000)
    """Passes over train. Default: 3, and more on small data, until 300 steps are taken."""
    min_steps: int | None = Field(None, ge=0)
    """Minimum number of steps; epochs are added to reach it. Default: 300 where no epochs are set, otherwise
    none. On a few hundred items three epochs are too few (Zhang et al. 2021, arXiv:2006.05987, section 4;
    Mosbach et al. 2021, arXiv:2006.04884, section 6)."""
    batch_size: int = Field(16, ge=1)
    """Items per optimizer step."""
    micro_batch: int | None = Field(None, ge=1)
    """Items on the device at once (default: batch_size). The update is the same."""
    group_by_length: bool = False
    """Put items of similar length into a batch to reduce padding. The seed still draws the order and the
    batch size is the same, but length decides which items share a batch."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Learning rate after the warm-up: decay to zero, or constant."""
    warmup_share: float = Field(0.06, ge=0, lt=1)
    """Share of the steps during which the learning rate rises (Mosbach et al. 2021)."""
    weight_decay: float = Field(0.01, ge=0, lt=1)
    """AdamW weight decay of weight matrices; norms and biases have none."""
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    """Labels: how much an item of each label weighs in the loss of every arm that learns from labels, and in
    the dev loss by which it chooses. balanced: items / (labels * items of the label), as scikit-learn; or
    weights such as {spam: 5}, where labels that are not named weigh 1. The weights of a whole batch divide
    its loss."""
    clip_norm: float = Field(1.0, gt=0)
    """Maximum gradient norm (global, L2); larger gradients are scaled down."""
    evals_per_epoch: int = Field(1, ge=1, le=100)
    """Evaluations on dev per epoch; the weights of the best one are kept."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many evaluations without a lower dev loss."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    nonfinite: Literal["stop", "skip"] = "stop"
    """If a loss or gradient is not finite: stop the arm, or skip the update. Skipped updates are counted."""
    self_test: bool = True
    """Before the first step, check on a few items that batching does not change predictions, that
    micro-batches add up to the gradient of the batch, and that all trained weights get a gradient."""
    checkpoint_minutes: float | None = Field(1.0, ge=0)
    """Minutes of training between checkpoints, and at least twenty times as long as writing one takes; 0:
    after every step; null: never. A stopped study resumes from the newest checkpoint and ends with the same
    bits. An under-trained arm keeps its last one, so that --extend goes on from it (not with null)."""
    trackers: tuple[Literal["tensorboard", "wandb", "trackio", "mlflow"], ...] = ()
    """Trackers that log the steps in addition to steps.jsonl, through Accelerate."""

    @field_validator("class_weights", mode="before")
    @classmethod
    def _check_class_weights(cls, value: Any) -> Any:
        if value is None or value == "balanced":
            return value
        if not isinstance(value, Mapping) or not value:
            raise ValueError("it should be balanced, or weights by label such as {spam: 5, ham: 1}")
        weights = as_label_names(value)
        for label, weight in weights.items():
            if not is_number(weight) or not weight > 0:
                raise ValueError(f"the weight of {label} is {weight!r}; it should be a number above 0")
        return weights


VALUES_TO_TRY = {"anyOf": [{"type": "array", "minItems": 1}, {"const": "auto"}]}


class SearchSettings(Settings):
    """Settings that dev chooses for every arm with a training loop, each seed for itself (Bouthillier et al.
    2021, arXiv:2103.03098, section 3): names such as learning_rate, rank or train.batch_size with the list
    of values to try; learning_rate can be auto. Without names nothing is searched."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[Any, WithJsonSchema(VALUES_TO_TRY)]]

    budget: float = Field(2.0, gt=0, le=100)
    """Steps of all trials of an arm together, in multiples of the steps of its training: the same for every
    arm, however many settings it tries. Successive halving divides them equally between its rungs (Jamieson
    and Talwalkar 2016, arXiv:1502.07943, section 3)."""

    @property
    def values_by_name(self) -> dict[str, Any]:
        """A list of values for each setting; auto: around the learning rate that the arm has by default."""
        return dict(self.__pydantic_extra__ or {})

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, values: Any) -> Any:
        """`train: {batch_size: [...]}` is `train.batch_size: [...]`."""
        if not isinstance(values, dict) or not isinstance(values.get("train"), dict):
            return values
        inner = {f"train.{name}": value for name, value in values["train"].items()}
        return {**{name: value for name, value in values.items() if name != "train"}, **inner}


class PredictSettings(Settings):
    """How the arms predict."""

    batch_size: int = Field(32, ge=1)
    """Items on the device at once. It changes results by rounding alone: float32 sums in another order move a
    log-probability by about 1e-5."""
    timing_s: float | None = Field(None, ge=0, le=3600)
    """Seconds at most that an arm is timed after it has predicted, on dev items: one item at a time, and
    batches of up to batch_size. Of several seeds without a search the first is timed. 0: none is timed.
    Default: a tenth of what the arm took, from 2 to 5 seconds. It changes no result."""

    def timing_limit_s(self, arm_s: float) -> float:
        """Seconds at most that an arm is timed which took so many."""
        if self.timing_s is not None:
            return self.timing_s
        return min(MAX_TIMING_S, max(MIN_TIMING_S, arm_s / 10))


class ScoreSettings(Settings):
    """How predictions are scored and compared."""

    level: float = Field(0.95, gt=0.5, lt=1)
    """Confidence level of all intervals."""
    power: float = Field(0.8, gt=0.05, lt=1)
    """Power for which the smallest detectable difference is computed."""

    @model_validator(mode="before")
    @classmethod
    def _without_retired(cls, values: Any) -> Any:
        """The values without those of the bootstrap, which finished studies' recipes may still hold."""
        if isinstance(values, Mapping):
            return {key: value for key, value in values.items() if key not in ("draws", "seed")}
        return values


class TokenPrices(Settings):
    """Prices of a million tokens."""

    input: float = Field(ge=0)
    """Price of a million tokens that are read."""
    output: float = Field(ge=0)
    """Price of a million tokens that are written."""


class ArmPrices(Settings):
    """Prices of one arm, where they differ from those of the others."""

    per_million_tokens: TokenPrices | None = None
    """Prices by token of this arm."""
    per_thousand_items: float | None = Field(None, ge=0)
    """Price of a thousand predictions, whatever they take."""


class PriceSettings(Settings):
    """Prices, from which the report computes costs. They change no result; no arm is run again."""

    currency: str = Field("USD", min_length=1, max_length=12)
    """Currency of all prices, as the report writes it."""
    per_hour: float | None = Field(None, ge=0)
    """Price of an hour of this machine; 0 if it costs nothing. Needed with any other price."""
    per_million_tokens: TokenPrices | None = None
    """Prices of arms that are paid by token."""
    per_label: float | None = Field(None, ge=0)
    """Price of labelling one item of train or dev."""
    arms: dict[str, ArmPrices] = Field(default_factory=dict)
    """Prices of single arms by name, in place of those above."""

    @property
    def are_given(self) -> bool:
        """Whether costs are in money; otherwise they are in seconds of this machine."""
        return self.per_hour is not None

    @model_validator(mode="after")
    def _need_the_machine(self) -> "PriceSettings":
        others = (self.per_million_tokens, self.per_label, self.arms or None)
        if self.per_hour is None and any(price is not None for price in others):
            raise ValueError("it has no per_hour: give the price of an hour of this machine, 0 if it is free")
        return self


class AuditSettings(Settings):
    """Which errors of the audit do not stop the study."""

    allow: tuple[
        Literal[
            "empty_text",
            "no_supervised_tokens",
            "bos_count",
            "label_words_alike",
            "shots_contain_item",
            "answer_not_in_context",
            "answer_cut",
        ],
        ...,
    ] = ()
    """Audit errors to report without stopping the study."""


class ComputeSettings(Settings):
    """Where and in which precision all arms of a study run."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device to run on."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: fp32 on a CPU and on mps, bf16 on a GPU that has instructions for it, otherwise fp16, or fp32
    where a model exceeds the range of fp16 (Gemma 3). The report says why it is not bf16."""
    threads: int | None = Field(None, ge=1)
    """CPU threads (default: chosen by torch)."""
    memory: str | None = None
    """Memory limit: auto (what is free when an arm starts) or an amount such as 15GB. The peak of each arm is
    then predicted, and micro-batch, gradient checkpointing and prediction batch are chosen to fit; the
    effective batch size stays the same. Default: use the settings as written."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Training under a launcher (torchrun, accelerate launch). ddp: every process holds all weights; fsdp:
    every process holds a shard (FSDP2), and all weights on dev and after training."""
    compile: bool = False
    """Use torch.compile on the layers while an arm trains. It pays on GPUs; on a CPU it usually gains
    nothing. The first steps are slower, and the report says by how much."""
    deterministic: bool = False
    """Use algorithms on a GPU that give the same bits at every run, so that a study that was stopped resumes
    to the same bits. They are slower, and attention over padded texts needs more memory. A CPU gives the
    same bits anyway."""
    disk: str = "20GB"
    """Disk space for cached activations of frozen layers (layers: last N). If they need more, the frozen
    layers run in every step instead. The result is the same."""

    @field_validator("memory")
    @classmethod
    def _check_memory(cls, value: str | None) -> str | None:
        if value is not None and value != "auto":
            try:
                parse_memory_size(value, "memory")
            except RecipeError as error:
                raise ValueError(str(error).removeprefix("memory: ")) from None
        return value

    @field_validator("disk")
    @classmethod
    def _check_disk(cls, value: str) -> str:
        try:
            parse_memory_size(value, "disk")
        except RecipeError:
            raise ValueError("it should be an amount, such as 20GB") from None
        return value


class Claim(Settings):
    """What the study claims: `arm` is better than `over` by `metric`."""

    arm: str
    """The arm claimed to be better."""
    over: str
    """The arm it is compared with."""
    metric: str | None = None
    """Metric of the comparison (default: the first metric of the task)."""
    margin: float | None = Field(default=None, gt=0)
    """Also say whether the arms are as good as each other within this margin: in percentage points (1.0) for
    metrics between 0 and 1, else in the metric's unit."""
