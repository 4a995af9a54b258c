"""On the real Gemma-3-270M labels score and answers read as transformers' plain code has them.

In: the model, SST-2, TREC, IMDB, SQuAD 2.0. Out: nothing. Knows nothing of: studies, reports.
"""

import numpy as np
import pytest
import torch

from tests.gemma3_270m import (
    SST2,
    WINDOW,
    gemma_recipe,
    needs_gemma,
    plain_ids,
    plain_log_prob,
    plain_model,
    prompted_arm,
    sentiment_prompt,
)
from tests.open_model import SHARED
from tuneproof.arms.prompted import load_prompt_model
from tuneproof.data.question_prompts import encode_questions
from tuneproof.inference.generate import _StopRule, generate_answers
from tuneproof.inference.label_likelihood import score_labels
from tuneproof.models.oom import AdaptiveBatchSize
from tuneproof.study.plan import check

pytestmark = needs_gemma
PARITY = 1e-4  # in a log-probability
ROUNDING = 1e-4  # sums of float32 in another order, when other items are beside an item
DATA = SHARED / "data"
FEW_SHOT = {"few-shot": {"shots": 8}}
TREC_WORDS = {
    "ABBR": "abbreviation",
    "DESC": "description of something",
    "ENTY": "entity",
    "HUM": "human being",
    "LOC": "location",
    "NUM": "numeric value",
}
ANSWER = "Answer the question with a short piece of the context, word for word. "


@pytest.fixture(scope="module")
def sst2(tmp_path_factory):
    """Forty sentences of GLUE's dev."""
    split = {"train_size": 200, "dev_size": 8, "test_size": 40}
    out = tmp_path_factory.mktemp("sst2") / "study"
    return check(gemma_recipe(SST2, ["zero-shot", FEW_SHOT], out, split=split))


@pytest.fixture(scope="module")
def squad(tmp_path_factory):
    """SQuAD 2.0's official dev as test."""
    folder = DATA / "squad_v2"
    files = {"train": str(folder / "train-subset-v2.parquet"), "test": str(folder / "dev-v2.0.json.gz")}
    out = tmp_path_factory.mktemp("squad") / "study"
    arms = ["zero-shot", {"few-shot": {"shots": 4}}]
    return check(gemma_recipe({"squad_v2": files}, arms, out, encode={"max_length": 2048}))


@pytest.fixture(scope="module")
def model(sst2):
    """As a prompt arm loads it."""
    return load_prompt_model(prompted_arm(sst2, "zero-shot")[0])


def score(model, prompts, batch_size=32):
    return score_labels(model, prompts, 0, AdaptiveBatchSize(batch_size))


def compare_with_plain(scores_NC, prompts, texts, words, record_property):
    """Largest difference to the plain log-probabilities; the prompts are also written by hand."""
    plain_NC = np.zeros_like(scores_NC)
    tokens = 0
    for index, text in enumerate(texts):
        for label, word in enumerate(words):
            plain_NC[index, label], count = plain_log_prob(text, f" {word}")
            tokens = max(tokens, count)
            ids = np.concatenate([prompts.contexts[index], prompts.continuations[index][label]])
            assert ids.tolist() == plain_ids(f"{text} {word}")
    difference = np.abs(scores_NC - plain_NC).max()
    record_property("largest difference", float(difference))
    print(f"largest difference of {plain_NC.size} log-probabilities: {difference:.2e}")
    assert plain_NC.std() > 0.1, "equal scores would test nothing"
    assert difference < PARITY
    return tokens


@pytest.mark.parametrize("name", ["zero-shot", "few-shot"])
def test_log_probabilities_of_sst2_labels_equal_plain_float32(sst2, model, name, record_property):
    _, predictor = prompted_arm(sst2, name)
    items = sst2.study.splits.test
    assert len(items) == 40
    assert len(predictor.shots) == (8 if name == "few-shot" else 0)
    prompts = predictor.encode(items)
    texts = [sentiment_prompt(predictor.shots, item.text) for item in items]
    scores_NC = score(model, prompts)
    compare_with_plain(scores_NC, prompts, texts, ("negative", "positive"), record_property)


def test_log_probabilities_of_labels_of_several_tokens_equal_plain_float32(tmp_path, model, record_property):
    labels, words = tuple(TREC_WORDS), tuple(TREC_WORDS.values())
    path = str(DATA / "other" / "trec.parquet")
    task = {"labels": {"path": path, "labels": labels, "words": words, "template": "{text}\nKind:"}}
    split = {"train_size": 60, "dev_size": 12, "test_size": 12}
    plan = check(gemma_recipe(task, ["zero-shot"], tmp_path / "study", split=split))
    _, predictor = prompted_arm(plan, "zero-shot")
    items = plan.study.splits.test
    prompts = predictor.encode(items)
    texts = [f"{plan.study.prompt.instruction}\n\n{item.text}\nKind:" for item in items]
    tokens = compare_with_plain(score(model, prompts), prompts, texts, words, record_property)
    assert tokens > 1


def test_log_probabilities_beyond_the_sliding_window_equal_plain_float32(tmp_path, model, record_property):
    task = {"imdb": {"path": str(DATA / "imdb")}}
    sizes = {"split": {"train_size": 200, "dev_size": 8, "test_size": 4}, "encode": {"max_length": 8192}}
    plan = check(gemma_recipe(task, [FEW_SHOT], tmp_path / "study", **sizes))
    _, predictor = prompted_arm(plan, "few-shot")
    items = plan.study.splits.test
    prompts = predictor.encode(items)
    assert not prompts.truncated_N.any()
    assert min(map(len, prompts.contexts)) > 2 * WINDOW
    texts = [sentiment_prompt(predictor.shots, item.text) for item in items]
    scores_NC = score(model, prompts)
    compare_with_plain(scores_NC, prompts, texts, ("negative", "positive"), record_property)
    wide, _ = plain_log_prob(texts[0], " positive", plain_model(window=8192))
    assert abs(wide - scores_NC[0, 1]) > 100 * PARITY, "the window changes nothing here"


@pytest.mark.parametrize("name", ["zero-shot", "few-shot"])
def test_scores_repeat_to_the_bit_and_the_batch_moves_them_by_rounding_alone(
    sst2, model, name, record_property
):
    _, predictor = prompted_arm(sst2, name)
    prompts = predictor.encode(sst2.study.splits.test)
    scores_NC = score(model, prompts)
    assert score(model, prompts).tobytes() == scores_NC.tobytes()
    for size in (1, 3, 8):
        other_NC = score(model, prompts, size)
        difference = np.abs(other_NC - scores_NC).max()
        record_property(f"largest difference, {size} at once", float(difference))
        print(f"{name}, {size} at once: {difference:.2e}")
        assert difference < ROUNDING
        assert (other_NC.argmax(1) == scores_NC.argmax(1)).all()


def question_text(shots, example):
    """The prompt of a question, written by hand."""

    def query(item):
        question = item.required_question
        return f"Context: {question.context}\nQuestion: {question.question}\nAnswer:"

    def gold(item):
        answers = item.required_question.answers
        return answers[0] if answers else "unanswerable"

    instruction = ANSWER + "If the context does not answer it, say unanswerable."
    return "\n\n".join([instruction, *(f"{query(shot)} {gold(shot)}" for shot in shots), query(example)])


def generated_tokens(plan, name, model, items, monkeypatch, batch_size=16):
    """The tokens that tuneproof generates for each item, and the texts that they become."""
    context, predictor = prompted_arm(plan, name)
    encoded = encode_questions(predictor.question_format, items)
    texts = [question_text(predictor.shots, item) for item in items]
    assert [ids.tolist() for ids in encoded.prompts.prompt_ids] == [plain_ids(text) for text in texts]
    limit = plan.recipe.encode.answer_tokens
    rule = _StopRule(context.spec.tokenizer, sorted({1, *encoded.ends}), limit, "\n")
    with monkeypatch.context() as patch:
        patch.setattr(_StopRule, "answer", lambda self, tokens: tokens)
        tokens = generate_answers(
            model,
            context.spec.tokenizer,
            encoded.prompts,
            context.spec.pad.id,
            AdaptiveBatchSize(batch_size),
            plan.recipe.encode.answer_tokens,
            "cpu",
            encoded.ends,
        )
    return texts, tokens, rule


@torch.inference_mode()
def plain_generated(text, tokens):
    """transformers' greedy `generate`: one prompt, without padding."""
    ids = torch.tensor([plain_ids(text)])
    output = plain_model().generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens
    )
    return output[0, ids.shape[1] :].tolist()


def check_against_generate(texts, tokens, rule, record_property):
    """Token for token, up to where the rule ends an answer for the first time."""
    total = sum(map(len, tokens))
    for text, new in zip(texts, tokens, strict=True):
        assert new == plain_generated(text, len(new))
        assert rule.is_finished(new)
        assert not any(rule.is_finished(new[:step]) for step in range(1, len(new)))
    record_property("tokens compared", total)
    print(f"{len(texts)} answers, {total} tokens equal")


def test_answers_to_squad_questions_equal_generate_token_for_token(
    squad, model, monkeypatch, record_property
):
    test = squad.study.splits.test
    items = [*test[:25], *test[1000:11000:400]]  # whole paragraphs, and single questions from all over
    assert len(items) == 50
    texts, tokens, rule = generated_tokens(squad, "zero-shot", model, items, monkeypatch)
    check_against_generate(texts, tokens, rule, record_property)
    again = generated_tokens(squad, "zero-shot", model, items, monkeypatch, batch_size=5)[1]
    assert again == tokens, "the batch changes an answer"


def test_answers_beyond_the_sliding_window_equal_generate_token_for_token(
    squad, model, monkeypatch, record_property
):
    items = squad.study.splits.test[:6]
    texts, tokens, rule = generated_tokens(squad, "few-shot", model, items, monkeypatch)
    assert min(len(plain_ids(text)) for text in texts) > WINDOW
    check_against_generate(texts, tokens, rule, record_property)
