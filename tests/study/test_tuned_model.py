"""A study with models that were tuned elsewhere: evaluated as they are, their outputs by name."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from tests.arms.small import small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.apply.loaded_arm import load
from tuneproof.errors import TuneproofError
from tuneproof.inference.prediction import read_predictions
from tuneproof.models.pooled_features import pool
from tuneproof.record.study_folder import read_items
from tuneproof.study.plan import check

LABELS = ("negative", "positive")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("m") / "llama", "llama")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("m") / "bert", "bert")


def adapter_on(base, folder, task_type, **config):
    """A LoRA adapter with arbitrary weights, as peft writes it after another program's training."""
    from peft import LoraConfig, get_peft_model

    auto = AutoModelForCausalLM if task_type == "CAUSAL_LM" else AutoModelForSequenceClassification
    torch.manual_seed(3)
    model = get_peft_model(
        auto.from_pretrained(base),
        LoraConfig(task_type=task_type, r=4, lora_alpha=32, target_modules="all-linear", **config),
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            torch.nn.init.normal_(weight, std=0.3)
    model.eval().save_pretrained(folder)
    return model


def classifier_in(base, folder, names):
    torch.manual_seed(4)
    model = AutoModelForSequenceClassification.from_pretrained(base, id2label=dict(enumerate(names)))
    torch.nn.init.normal_(model.classifier.weight, std=1.0)
    model.eval().save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return model


def run(tmp_path, path, out="study", arms=("majority",), **options):
    recipe = small_recipe(tmp_path, [], [*arms, {"tuned-model": {"model": str(path), **options}}], out=out)
    run_recorded(recipe)
    arm = next((tmp_path / out / "arms").glob("*tuned-model*"))
    return arm, read_predictions(arm / "predictions.parquet")


def shares_of(model, tokenizer, texts):
    rows = [tokenizer(text, return_tensors="pt") for text in texts]
    with torch.no_grad():
        return np.stack([model(**row).logits[0].softmax(-1).double().numpy() for row in rows])


def test_a_classifier_is_read_by_the_names_of_its_outputs(tmp_path, encoder):
    model = classifier_in(encoder, tmp_path / "finished", ("Positive", "Negative"))
    _, predictions = run(tmp_path, tmp_path / "finished")
    texts = read_items(tmp_path / "study", "test").texts
    expected_NC = shares_of(model, AutoTokenizer.from_pretrained(encoder), texts)[:, ::-1]
    np.testing.assert_allclose(predictions.probabilities_NC, expected_NC, atol=1e-5)


def test_outputs_without_names_are_named_by_the_user(tmp_path, encoder):
    model = classifier_in(encoder, tmp_path / "finished", ("LABEL_0", "LABEL_1"))
    recipe = small_recipe(tmp_path, [], ["majority", {"tuned-model": {"model": str(tmp_path / "finished")}}])
    with pytest.raises(TuneproofError, match=r"tuned-model\.labels"):
        run_recorded(recipe)
    _, predictions = run(tmp_path, tmp_path / "finished", "named", labels=["positive", "negative"])
    texts = read_items(tmp_path / "named", "test").texts
    expected_NC = shares_of(model, AutoTokenizer.from_pretrained(encoder), texts)[:, ::-1]
    np.testing.assert_allclose(predictions.probabilities_NC, expected_NC, atol=1e-5)


def test_an_adapter_with_a_classification_head_is_put_on_its_base(tmp_path, encoder):
    model = adapter_on(encoder, tmp_path / "adapter", "SEQ_CLS")
    _, predictions = run(tmp_path, tmp_path / "adapter", labels=["positive", "negative"])
    texts = read_items(tmp_path / "study", "test").texts
    expected_NC = shares_of(model, AutoTokenizer.from_pretrained(encoder), texts)[:, ::-1]
    np.testing.assert_allclose(predictions.probabilities_NC, expected_NC, atol=1e-5)


def test_an_adapter_on_a_decoder_answers_with_its_words(tmp_path, decoder):
    model = adapter_on(decoder, tmp_path / "adapter", "CAUSAL_LM")
    arm, predictions = run(
        tmp_path, tmp_path / "adapter", template="{text} It was", instruction="", words=["bad", "good"]
    )
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    for row, text in enumerate(read_items(tmp_path / "study", "test").texts[:4]):
        scores = [likelihood(model, tokenizer, f"{text} It was", f" {word}") for word in ("bad", "good")]
        shares = np.exp(scores - np.logaddexp(*scores))
        np.testing.assert_allclose(predictions.probabilities_NC[row], shares, atol=1e-4)
    again = load(arm).predict(read_items(tmp_path / "study", "test").texts)
    np.testing.assert_allclose(again.probabilities_NC, predictions.probabilities_NC, atol=1e-5)


def likelihood(model, tokenizer, prompt, answer):
    """The log-probability of the answer's tokens after the prompt."""
    ids = tokenizer(prompt + answer, return_tensors="pt")["input_ids"]
    start = len(tokenizer(prompt)["input_ids"])
    with torch.no_grad():
        scores_TV = model(input_ids=ids).logits[0].double().log_softmax(-1)
    return sum(float(scores_TV[t - 1, ids[0, t]]) for t in range(start, ids.shape[1]))


def test_an_arm_of_another_study_is_evaluated(tmp_path, encoder):
    recipe = small_recipe(tmp_path, [encoder], ["majority", "lora"], out="first")
    run_recorded(recipe)
    arm = next((tmp_path / "first" / "arms").glob("*lora*"))
    _, predictions = run(tmp_path, arm, base=str(encoder), labels=list(LABELS))
    first = read_predictions(arm / "predictions.parquet")
    np.testing.assert_allclose(predictions.probabilities_NC, first.probabilities_NC, atol=1e-5)


def test_a_claim_over_a_finished_model_is_tested(tmp_path, encoder):
    classifier_in(encoder, tmp_path / "finished", ("positive", "negative"))
    arms = ["lexical", "head", {"tuned-model": {"model": str(tmp_path / "finished")}}]
    recipe = small_recipe(tmp_path, [encoder], arms, claim={"arm": "head", "over": "tuned-model"})
    run_recorded(recipe)
    verdict = json.loads((tmp_path / "study" / "comparisons.json").read_text())["verdict"]
    assert len(verdict["claims"]) == 1
    assert "tuned-model" in verdict["claims"][0]["over"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": 10**7}, "r is 10000000"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"base_model_name_or_path": None}, "names no base model"),
        ({"base_model_name_or_path": "no/such-model-anywhere"}, r"tuned-model\.base"),
    ],
)
def test_a_damaged_adapter_is_named(tmp_path, decoder, change, message):
    adapter_on(decoder, tmp_path / "adapter", "CAUSAL_LM")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(TuneproofError, match=message):
        run(tmp_path, tmp_path / "adapter")


def test_a_bare_base_is_refused_with_what_to_do(tmp_path, encoder):
    from transformers import AutoModel

    AutoModel.from_pretrained(encoder).save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(encoder).save_pretrained(tmp_path / "base")
    recipe = small_recipe(tmp_path, [], ["majority", {"tuned-model": {"model": str(tmp_path / "base")}}])
    assert "has no head that answers" in str(check(recipe).arms[-1].impossible)


def test_an_adapter_among_the_models_is_evaluated_as_an_arm(tmp_path, decoder):
    adapter_on(decoder, tmp_path / "mine", "CAUSAL_LM")
    recipe = small_recipe(tmp_path, [str(tmp_path / "mine"), str(decoder)], ["majority", "zero-shot"])
    assert [arm.name for arm in recipe.arms] == ["majority", "zero-shot", "mine"]
    assert [model.id for model in recipe.models] == [str(decoder)]
    run_recorded(recipe)
    assert len(list((tmp_path / "study" / "arms").iterdir())) == 3


def test_entailment_scores_every_label(tmp_path, encoder):
    model = classifier_in(encoder, tmp_path / "nli", ("contradiction", "Entailment", "neutral"))
    options = {"model": str(tmp_path / "nli"), "hypothesis": "It was {label}."}
    run_recorded(small_recipe(tmp_path, [], ["majority", {"nli": options}]))
    arm = next((tmp_path / "study" / "arms").glob("*nli*"))
    predictions = read_predictions(arm / "predictions.parquet")
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    texts = read_items(tmp_path / "study", "test").texts
    for row, text in enumerate(texts[:4]):
        pairs = [tokenizer(text, f"It was {label}.", return_tensors="pt") for label in LABELS]
        with torch.no_grad():
            scores = np.array([float(model(**pair).logits[0, 1]) for pair in pairs])
        shares = np.exp(scores - np.logaddexp(*scores))
        np.testing.assert_allclose(predictions.probabilities_NC[row], shares, atol=1e-5)
    again = load(arm).predict(texts)
    np.testing.assert_allclose(again.probabilities_NC, predictions.probabilities_NC, atol=1e-5)


def test_a_classifier_without_entailment_is_refused(tmp_path, encoder):
    classifier_in(encoder, tmp_path / "other", ("positive", "negative"))
    recipe = small_recipe(tmp_path, [], ["majority", {"nli": {"model": str(tmp_path / "other")}}])
    with pytest.raises(TuneproofError, match="no output is named entailment"):
        run_recorded(recipe)


def test_embeddings_are_unit_vectors_under_logistic_regression(tmp_path, encoder):
    run_recorded(small_recipe(tmp_path, [encoder], ["majority", "embeddings"]))
    arm = next((tmp_path / "study" / "arms").glob("*embeddings*"))
    assert json.loads((arm / "arm.json").read_text())["chosen"]["pooling"] == "unit-mean"
    hidden_BTD = torch.tensor([[[3.0, 0.0], [3.0, 8.0], [9.0, 9.0]]])
    pooled = pool(hidden_BTD, torch.tensor([[1, 1, 0]]), "unit-mean")
    torch.testing.assert_close(pooled, torch.tensor([[0.6, 0.8]]))
    predictions = read_predictions(arm / "predictions.parquet")
    again = load(arm).predict(read_items(tmp_path / "study", "test").texts)
    np.testing.assert_allclose(again.probabilities_NC, predictions.probabilities_NC, atol=1e-5)
