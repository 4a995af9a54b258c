"""The settings of the stages, each declared once: name, type, default, bounds, meaning with unit.

In: nothing. Out: one frozen class a stage, which the recipe puts together.
Knows nothing of: files, models, how a setting is carried out.
"""

import re
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from tuneproof.errors import RecipeError

UNITS = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", start=1)},
}


def memory_bytes(text: str, where: str) -> int:
    """ "15GB" is 15 · 10⁹ bytes, "15GiB" 15 · 2³⁰.

    Raises: RecipeError where it is no amount of memory.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*", text)
    unit = {name.lower(): size for name, size in UNITS.items()}.get(found[2].lower()) if found else None
    size = round(float(found[1]) * unit) if found and unit else 0
    if size < 1:
        raise RecipeError(
            where,
            f"{text!r} is not an amount of memory.",
            f"Units: {', '.join(UNITS)}.",
            "Write 15GB, 16GiB or auto.",
        )
    return size


class Settings(BaseModel):
    """Frozen; an unknown key, infinity, and true or false in a number's place are errors."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_in_a_numbers_place(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind is not bool and bool not in get_args(kind):
            raise ValueError("it cannot be true or false")
        return value


class SplitSettings(Settings):
    """How items are divided into train, dev (chooses) and test (reports)."""

    kind: Literal["auto", "official", "shares"] = Field(
        "auto",
        description="official: the source's own test part; shares: divide all items by `shares`; "
        "auto: official where the source has a test part, else shares.",
    )
    shares: tuple[float, ...] = Field(
        (80.0, 20.0),
        min_length=2,
        max_length=3,
        description="train:test, or train:dev:test; any positive numbers, taken as proportions. "
        "With two, dev is cut from train by `dev_share`.",
    )
    dev_share: float = Field(
        0.1, gt=0, lt=1, description="Share of train that becomes dev where the source has none."
    )
    leak_safe: bool = Field(
        True,
        description="Keep groups whole, and drop from train what gives a dev or test item away. "
        "false: the plain random split of most projects; the report then shows the overlap.",
    )
    seed: int = Field(0, ge=0, description="Seed of the split and of the subsets below.")
    balance_train: bool = Field(
        False,
        description="Leave a seeded part of the larger classes out of train, counted, so that all labels "
        "are equally frequent there; dev and test keep their shares.",
    )
    train_size: int | None = Field(
        None, ge=2, description="Train on at most this many items, drawn stratified by label."
    )
    dev_size: int | None = Field(None, ge=2, description="The same for dev.")
    test_size: int | None = Field(None, ge=2, description="The same for test.")


class EncodeSettings(Settings):
    """How texts become tokens."""

    max_length: int = Field(256, ge=8, le=131072, description="Tokens an item may have, prompt included.")
    truncate: Literal["end", "start", "middle"] = Field(
        "end",
        description="Where a text that is too long is cut; middle keeps the first quarter and the "
        "last three (Sun et al. 2019, arXiv:1905.05583, section 5.3.1). Prompt and label are never cut.",
    )
    stride: int = Field(
        96,
        ge=0,
        le=65536,
        description="Questions: tokens that neighbouring windows of a long context share, for a head "
        "over spans. An answer longer than this may stand in no window whole.",
    )
    answer_tokens: int = Field(30, ge=1, le=1024, description="Questions: tokens that an answer may have.")
    chat: Literal["auto", "never"] = Field(
        "auto", description="auto: prompts go through the model's chat template where it has one."
    )


class TrainSettings(Settings):
    """How every arm with a training loop is trained; the learning rate belongs to the method."""

    epochs: int = Field(3, ge=1, le=1000, description="Passes over train.")
    min_steps: int = Field(
        0,
        ge=0,
        description="Train for more epochs where these would give fewer steps: on a few hundred items "
        "three epochs are too short (Zhang et al. 2021, arXiv:2006.05987, section 4).",
    )
    batch_size: int = Field(16, ge=1, description="Items of one optimizer step.")
    micro_batch: int | None = Field(
        None, ge=1, description="Items on the device at once (default: batch_size). Same update."
    )
    group_by_length: bool = Field(
        False,
        description="Batches hold items of similar length: less padding. The order is still drawn by the "
        "seed and an update holds as many items, but which items meet depends on their length.",
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="The learning rate after the warm-up: to zero, or constant."
    )
    warmup_share: float = Field(
        0.06,
        ge=0,
        lt=1,
        description="Share of the steps over which the learning rate rises (Mosbach et al. 2021).",
    )
    weight_decay: float = Field(
        0.01, ge=0, lt=1, description="AdamW's decay of weight matrices; norms and biases have none."
    )
    clip_norm: float = Field(1.0, gt=0, description="The gradient's global norm is cut to this (L2).")
    evals_per_epoch: int = Field(
        1, ge=1, le=100, description="Evaluations on dev an epoch; the best one's weights are kept."
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after this many evaluations without a lower dev loss."
    )
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, more time."
    )
    nonfinite: Literal["stop", "skip"] = Field(
        "stop",
        description="Where a loss or gradient is not finite: stop the arm, or leave that update out; such "
        "updates are counted.",
    )
    self_test: bool = Field(
        True,
        description="Before the first step, on a few items: batched equals one by one, micro-batches add "
        "up to the batch's gradient, what is trained gets a gradient.",
    )
    checkpoint_minutes: float | None = Field(
        1.0,
        ge=0,
        description="Minutes of training after which a checkpoint is written (or twenty times what "
        "writing one takes, where that is longer); 0: after every step; null: never. A study that "
        "is stopped goes on from there to the same bits.",
    )
    trackers: tuple[Literal["tensorboard", "wandb", "trackio", "mlflow"], ...] = Field(
        (), description="Where steps are sent besides steps.jsonl, through Accelerate."
    )


class PredictSettings(Settings):
    """How the arms predict."""

    batch_size: int = Field(32, ge=1, description="Items on the device at once; changes no result.")


class ScoreSettings(Settings):
    """How predictions are scored and compared."""

    level: float = Field(0.95, gt=0.5, lt=1, description="Level of every interval.")
    draws: int = Field(10_000, ge=200, le=1_000_000, description="Bootstrap draws.")
    seed: int = Field(0, ge=0, description="Seed of the draws.")
    power: float = Field(
        0.8, gt=0.05, lt=1, description="Power at which the smallest detectable difference is given."
    )


class AuditSettings(Settings):
    """What the audit may find without stopping the study."""

    allow: tuple[
        Literal[
            "empty_text",
            "no_supervised_tokens",
            "bos_count",
            "label_words_alike",
            "shots_contain_item",
            "answer_not_in_context",
        ],
        ...,
    ] = Field((), description="Errors of the audit that are reported and do not stop the study.")


class ComputeSettings(Settings):
    """Where and in which precision the arms run: the same for every arm of a study."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Where to compute.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: fp32 on a CPU, bf16 on a GPU that has it, else fp16."
    )
    threads: int | None = Field(None, ge=1, description="CPU threads (default: torch's choice).")
    memory: str | None = Field(
        None,
        description="auto: what is free when an arm begins; or an amount, such as 15GB. Each arm's peak "
        "is then predicted first, and the micro-batch, gradient checkpointing and how much is predicted "
        "at once are chosen to fit; the effective batch stays. Default: as train and predict say.",
    )

    parallel: Literal["ddp", "fsdp"] = Field(
        "ddp",
        description="Under a launcher (torchrun, accelerate launch), while an arm trains: ddp, every "
        "process holds all weights; fsdp, a share of each (FSDP2), and all of them on dev and after it.",
    )
    compile: bool = Field(
        False,
        description="torch.compile of the layers while an arm trains: pays on GPUs. The first steps are "
        "slower, and how much is reported; on a CPU it usually gains nothing.",
    )
    disk: str = Field(
        "20GB",
        description="Disk that a study's kept states of frozen layers (layers: last N) may take; where "
        "they would take more, these layers run in every step instead. The result is the same.",
    )

    @field_validator("memory")
    @classmethod
    def _an_amount(cls, value: str | None) -> str | None:
        if value is not None and value != "auto":
            try:
                memory_bytes(value, "memory")
            except RecipeError as error:
                raise ValueError(str(error).removeprefix("memory: ")) from None
        return value

    @field_validator("disk")
    @classmethod
    def _an_amount_of_disk(cls, value: str) -> str:
        try:
            memory_bytes(value, "disk")
        except RecipeError:
            raise ValueError("it should be an amount, such as 20GB") from None
        return value


class Claim(Settings):
    """What the study sets out to show: arm `arm` is better than arm `over` by `metric`."""

    arm: str = Field(description="The arm that is claimed to be better.")
    over: str = Field(description="The arm that it is compared with.")
    metric: str | None = Field(None, description="By which metric (default: the task's first).")
