"""The field's classic errors, one by one: each is refused, or flagged by its name."""

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.arms.small import arm_of, folder_of, rows_of, small_recipe, write_rows
from tests.monitoring import run_recorded
from tests.score.arms import pair_of
from tests.tiny_models import tiny_config, tiny_model, tiny_tokenizer
from tuneproof.atomic import sha256_of_file
from tuneproof.context.few_shot import draw_shots
from tuneproof.data.audit import audit_encoding, audit_shots, stop_on_errors
from tuneproof.data.batches import Batch
from tuneproof.data.encode import encode_answers, encode_prompts
from tuneproof.data.tokens import pad_batch
from tuneproof.errors import DataError, ModelError, RecipeError, RunError
from tuneproof.families import family_of
from tuneproof.families.models import resolve_model
from tuneproof.inference.parse import parse_answer
from tuneproof.inference.prediction import Predictions, read_predictions, write_predictions
from tuneproof.metrics import METRICS, LabelItems, evaluate
from tuneproof.metrics.labels import confusion
from tuneproof.metrics.metric import UNPARSED
from tuneproof.models.checkpoint_files import read_config, read_tokenizer_with_notes
from tuneproof.models.heads import class_logits
from tuneproof.models.load import load_model
from tuneproof.recipe.recipe import recipe_from
from tuneproof.record.compare_folders import compare_folders
from tuneproof.record.study_folder import read_study
from tuneproof.report.arm_table import arm_table
from tuneproof.report.tables import headline, metric_note
from tuneproof.score.compare import compare
from tuneproof.settings import ScoreSettings
from tuneproof.study.plan import check
from tuneproof.tasks import TASKS
from tuneproof.tasks.task import Example, Prompt
from tuneproof.train.gradients import LossSum
from tuneproof.train.loop import fit
from tuneproof.train.optimizer import make_optimizer, make_schedule

PROMPT = Prompt(
    instruction="Is it positive or negative?",
    template="Review: {text}\nSentiment:",
    words=("negative", "positive"),
    cloze="{text} It was {mask}.",
    cloze_words=("bad", "great"),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    from transformers import BertModel

    folder = tmp_path_factory.mktemp("models")
    for kind in ("distilbert", "llama", "gpt2"):
        tiny_model(folder / kind, kind)
    tokenizer = tiny_tokenizer("bert")
    BertModel(tiny_config("bert", tokenizer)).save_pretrained(folder / "headless")
    tokenizer.save_pretrained(folder / "headless")
    return folder


def opened(folder: Path) -> tuple[Any, Any, Any, Any]:
    """Source, configuration, tokenizer, family."""
    source = resolve_model(str(folder))
    config = read_config(source)
    family = family_of(config)
    return source, config, read_tokenizer_with_notes(source, config, family)[0], family


def answers(folder: Path, texts: Sequence[str], max_length: int) -> tuple[Any, Any]:
    """Label 1 after each text, encoded for training on the label's words; and the tokenizer."""
    _, _, tokenizer, family = opened(folder)
    items = [Example(str(place), text, 1, str(place)) for place, text in enumerate(texts)]
    encoded = encode_answers(encode_prompts(tokenizer, family, PROMPT, items, (), max_length, "end"), items)
    return encoded, tokenizer


# A random head as zero-shot


def test_a_random_head_is_not_zero_shot(models, tmp_path):
    recipe = small_recipe(tmp_path, [models / "headless"], ["majority", "zero-shot"])
    with pytest.raises(RecipeError) as error:
        check(recipe)
    assert "headless has no language-model head in its checkpoint" in str(error.value)
    assert "is not zero-shot. Use head, lora or full." in str(error.value)
    source, config, tokenizer, family = opened(models / "headless")
    with pytest.raises(ModelError, match="A random head is not zero-shot"):
        load_model(source, config, tokenizer, family, head="cloze")


def test_a_model_that_cannot_be_asked_is_listed_beside_one_that_can(models, tmp_path):
    names = [models / "headless", models / "distilbert"]
    words = {"labels": {"words": ["bad", "great"]}}
    values = small_recipe(tmp_path, names, ["zero-shot"]).values()
    values["task"]["labels"] |= words["labels"]

    plan = check(recipe_from(values))
    found = {run.spec.name: run.impossible for run in plan.arms if run.spec}
    assert found["distilbert"] is None
    assert "it would be random" in str(found["headless"])


# Another model's tokenizer


def test_another_models_tokenizer_is_refused(models, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(models / "llama", folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(models / "gpt2" / file, folder / file)
    with pytest.raises(ModelError, match=r"^mixed: the tokenizer is another model's: "):
        check(small_recipe(tmp_path, [folder], ["head"]))


# Before and after on different items


def test_before_and_after_on_different_items_are_not_compared(tmp_path):
    """Neither on other ids, nor on other texts under the same ids."""
    first = small_recipe(tmp_path, [], ["majority"], out="first")
    other = small_recipe(tmp_path, [], ["majority"], out="other", split={"seed": 5})
    write_rows(tmp_path / "rows-2.csv", rows_of(("negative", "positive")))
    for recipe in (first, other):
        run_recorded(recipe)
    shouted = [(text.upper() + "!", label) for text, label in rows_of(("negative", "positive"))]
    write_rows(tmp_path / "rows-2.csv", shouted)
    texts = small_recipe(tmp_path, [], ["majority"], out="texts")
    run_recorded(texts)
    cases = ((other, "the items differ: 12 and 12"), (texts, "the same ids but different texts"))
    for recipe, said in cases:
        studies = (Path(first.out), Path(recipe.out))
        arms = (folder_of(first, "majority"), folder_of(recipe, "majority"))
        for one, two in (studies, arms):
            with pytest.raises(RunError, match=said):
                compare_folders(one, two, "accuracy")


def test_a_study_does_not_take_another_splits_arms(tmp_path):
    run_recorded(small_recipe(tmp_path, [], ["majority"]))
    with pytest.raises(RecipeError, match="holds a study with different items"):
        run_recorded(small_recipe(tmp_path, [], ["majority"], split={"seed": 5}))


# A leaky split


def test_a_leaky_split_is_flagged_and_its_overlap_stands_beside_the_number(tmp_path):
    rows = rows_of(("negative", "positive"))
    write_rows(tmp_path / "rows-2.csv", [*rows, *rows])
    leaky = small_recipe(tmp_path, [], ["majority", "lexical"])
    run_recorded(leaky)
    study = read_study(Path(leaky.out))
    share = study.splits["overlap"]["share"]
    assert share > 0.3
    finding = next(f for f in study.audit["findings"] if f["name"] == "leaky_split")
    assert "test items that overlap with train" in study.audit["checks"]
    assert finding["level"] == "warning"
    assert f"{share:.1%}" in finding["message"]
    for row in arm_table(study).rows:
        assert "(overlap " in row[2]
    assert "Leaky split (leak_safe: false): " in headline(study)
    report = json.loads((Path(leaky.out) / "report.json").read_text())
    assert report["split"]["overlap_share"] == share
    assert "Leaky split" in (Path(leaky.out) / "report.html").read_text()


def test_a_safe_split_of_the_same_rows_holds_no_overlap(tmp_path):
    rows = rows_of(("negative", "positive"))
    write_rows(tmp_path / "rows-2.csv", [*rows, *rows])
    plan = check(small_recipe(tmp_path, [], ["majority"], split={"leak_safe": True}))
    assert plan.splits.report["overlap"]["items"] == 0


# An unparsed answer counted as a class


def test_an_unparsed_answer_is_no_class(tmp_path):
    labels = ("negative", "positive")
    texts = ["negative", "I cannot say", "Positive.", "negative or positive"]
    found_N = np.array([parse_answer(text, labels) for text in texts])
    assert found_N.tolist() == [0, UNPARSED, 1, UNPARSED]
    gold_N = np.array([0, 0, 1, 1])
    names = ["a", "b", "c", "d"]
    made = Predictions(labels, names, names, gold_N, found_N, np.ones(4, int), np.zeros(4, bool), texts=texts)
    path = write_predictions(tmp_path / "predictions.parquet", made, {})
    assert pq.read_table(path).column("predicted").to_pylist() == ["negative", None, "positive", None]
    assert read_predictions(path).predicted_N.tolist() == found_N.tolist()
    items = LabelItems(labels, gold_N, found_N, None)
    assert confusion(items).tolist() == [[1, 0, 1], [0, 1, 1]]
    assert evaluate(METRICS["accuracy"], items) == 0.5
    assert evaluate(METRICS["precision"], items) == 1.0
    assert evaluate(METRICS["recall_macro"], items) == 0.5


def test_a_model_that_babbles_scores_its_unparsed_answers_as_wrong(models, tmp_path):
    arm = {"zero-shot": {"scoring": "generate"}}
    recipe = small_recipe(tmp_path, [models / "llama"], [arm])
    run_recorded(recipe)
    made = read_predictions(folder_of(recipe, "zero-shot") / "predictions.parquet")
    unparsed_N = made.predicted_N == UNPARSED
    assert unparsed_N.sum() > 0
    assert made.probabilities_NC is None
    assert made.texts is not None
    right = (made.predicted_N == made.gold_N).mean()
    scores = json.loads((folder_of(recipe, "zero-shot") / "scores.json").read_text())
    assert scores["accuracy"]["value"] == pytest.approx(right)
    assert right <= 1 - unparsed_N.mean()
    assert "unparsed" in (Path(recipe.out) / "report.html").read_text()


# Weighted recall shown as if it were news


def test_weighted_recall_is_accuracy_and_says_so():
    draw = np.random.default_rng(0)
    items = LabelItems(("a", "b", "c"), draw.integers(3, size=99), draw.integers(-1, 3, size=99), None)
    assert evaluate(METRICS["recall_weighted"], items) == pytest.approx(evaluate(METRICS["accuracy"], items))
    assert "equals accuracy" in metric_note("recall_weighted")
    assert not any("recall_weighted" in task.metrics for task in TASKS.values())


# The best epoch chosen on test


def test_other_test_labels_change_neither_the_chosen_step_nor_a_weight(models, tmp_path):
    rows = rows_of(("negative", "positive"), 80)
    random.Random(0).shuffle(rows)
    flipped = [(text, {"negative": "positive", "positive": "negative"}[label]) for text, label in rows]
    write_rows(tmp_path / "train.csv", rows[:40])
    write_rows(tmp_path / "dev.csv", rows[40:60])
    found = []
    for name, test in (("true", rows[60:]), ("flipped", flipped[60:])):
        write_rows(tmp_path / f"{name}.csv", test)
        recipe = small_recipe(
            tmp_path,
            [models / "distilbert"],
            ["lexical", "head", {"full": {"learning_rate": 1e-3}}],
            out=f"study-{name}",
            split={"kind": "official"},
            train={"epochs": 3},
        )
        values = recipe.values()
        files = {"path": "train.csv", "dev": "dev.csv", "test": f"{name}.csv"}
        values["task"]["labels"] |= {key: str(tmp_path / file) for key, file in files.items()}

        recipe = recipe_from(values)
        run_recorded(recipe)
        weights = {
            arm: [sha256_of_file(file) for file in folder_of(recipe, arm).rglob("*.safetensors")]
            for arm in ("head", "full")
        }
        chosen = {arm: arm_of(recipe, arm)["chosen"] for arm in ("lexical", "head", "full")}
        scores = json.loads((folder_of(recipe, "full") / "scores.json").read_text())
        found.append((weights, chosen, scores["accuracy"]["value"]))
    (weights, chosen, right), (weights_2, chosen_2, wrong) = found
    assert all(weights.values())
    assert weights == weights_2
    assert chosen == chosen_2
    assert right == pytest.approx(1 - wrong)


# The label cut off by truncation; the loss on the prompt, or on nothing


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_long_text_is_cut_and_its_label_is_not(models, kind):
    long = "My friend watched the movie and said it was great. " * 40
    encoded, tokenizer = answers(models / kind, [long, "great"], 96)
    assert encoded.truncated_N.tolist() == [True, False]
    assert max(len(ids) for ids in encoded.ids) <= 96
    for ids, supervised in zip(encoded.ids, encoded.supervised, strict=True):
        assert tokenizer.decode(ids[supervised]).strip() == "positive"
        assert tokenizer.decode(ids).rstrip().endswith("Sentiment: positive")


def test_a_prompt_without_room_is_refused_rather_than_cut(models):
    with pytest.raises(RecipeError, match=r"^encode\.max_length: 16 tokens are too few: the prompt"):
        answers(models / "llama", ["great"], 16)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_loss_sees_the_labels_words_alone(models, kind):
    encoded, tokenizer = answers(models / kind, ["The film was great.", "positive positive"], 200)
    for ids, supervised in zip(encoded.ids, encoded.supervised, strict=True):
        assert 0 < supervised.sum() < len(ids) / 3
        assert supervised[-supervised.sum() :].all()  # the last tokens, and no other
        assert tokenizer.decode(ids[supervised]).strip() == "positive"


def test_a_loss_on_nothing_is_refused():
    findings = audit_encoding([9, 9], [False, False], [1, 0], None, None, 96, ids=["a", "b"])
    with pytest.raises(DataError) as error:
        stop_on_errors(findings)
    assert str(error.value).startswith(
        "audit, no_supervised_tokens: 1 item has no token that the loss counts (b)"
    )
    model = torch.nn.Linear(2, 2)
    batch = Batch(("a",), ({"targets": torch.tensor([[-100]])},))
    steps = fit(
        model,
        lambda epoch: iter([batch]),
        lambda model, part: LossSum(model.weight.sum() * 0, 0, 1),
        lambda part: 0,
        make_optimizer(model, 1e-3, 0.0),
        make_schedule("constant", 1, 0.0),
        epochs=1,
        steps_per_epoch=1,
        clip_norm=1.0,
        seed=0,
    )
    with pytest.raises(RunError, match="supervised"):
        next(iter(steps))


# Pad = end of text, hiding the real end


def test_pad_as_end_of_text_hides_no_real_end(models):
    source, config, tokenizer, family = opened(models / "gpt2")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    end = tokenizer.eos_token_id
    rows = [[40, 41, 42, 43, 44], [45, end, 46, end]]  # the second holds real ends
    batch = pad_batch(rows, end, "right")
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    loaded = load_model(source, config, tokenizer, family, head="labels", labels=("a", "b"), seed=0)
    with torch.no_grad():
        together_BC = class_logits(loaded.model, family, batch)
        for place, row in enumerate(rows):
            alone_BC = class_logits(loaded.model, family, pad_batch([row], end, "right"))
            torch.testing.assert_close(together_BC[place], alone_BC[0], atol=1e-5, rtol=1e-5)


# Shots that contain the item


def test_shots_that_contain_the_item_stop_the_run():
    train = [Example(f"t{place}", f"text {place}", place % 2, "") for place in range(20)]
    item = Example("x", "TEXT  3!", 1, "")
    with pytest.raises(DataError) as error:
        stop_on_errors(audit_shots([train[3]], [item]))
    assert str(error.value).startswith(
        "audit, shots_contain_item: The shots contain items to predict: 1 item is among the 1 shots (x)."
    )
    for seed in range(20):
        shots = draw_shots(train, 18, 2, seed, [item])
        assert len(shots) == 18
        assert "t3" not in {shot.id for shot in shots}
        assert audit_shots(shots, [item]) == []


# Noise called an improvement


def test_93_82_against_93_56_on_10_000_items_is_no_improvement():
    after, before = pair_of(both=9082, only_arm=300, only_over=274, neither=344)
    found = compare([after], [before], "accuracy", "after", "before", ScoreSettings(), False)
    assert (found.value, found.over_value, found.n) == (0.9382, 0.9356, 10_000)
    assert found.outcome == "cannot tell"
    assert found.sentence.startswith("Cannot tell whether after or before is better: accuracy 93.8 %")
    assert found.mde > found.difference
    assert found.low < 0 < found.high
