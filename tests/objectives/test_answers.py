"""Written answers: what is supervised, what is cut, and that batches change no answer."""

from pathlib import Path

import pytest

from tests.arms.questions import question_models, question_recipe, question_rows, write_questions
from tests.arms.small import context_of
from tuneproof.data.question_prompts import encode_questions
from tuneproof.inference.generate import generate_answers
from tuneproof.models.load import load_model
from tuneproof.models.oom import AdaptiveBatchSize
from tuneproof.objectives.answers import AnswerObjective
from tuneproof.study.plan import check


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    return question_models(tmp_path_factory.mktemp("models"), ("llama", "gemma2"))


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_answers_of_a_batch_are_those_of_batches_of_one(models, tmp_path, kind):
    recipe = question_recipe(tmp_path, [models[kind]], ["majority", "zero-shot"])
    plan = check(recipe)
    context = context_of(plan, "zero-shot", longest=224)
    spec, test = context.spec, plan.study.splits.test
    model = load_model(spec.source, spec.config, spec.tokenizer, spec.family, head="words").model
    encoded = encode_questions(AnswerObjective(context).question_format, test)
    assert len({len(ids) for ids in encoded.prompts.prompt_ids}) > 1, "padding is at work"
    texts = {
        size: generate_answers(
            model,
            spec.tokenizer,
            encoded.prompts,
            spec.pad.id,
            AdaptiveBatchSize(size),
            24,
            "cpu",
            encoded.ends,
        )
        for size in (1, 7)
    }
    assert texts[1] == texts[7]
    assert len(texts[1]) == len(test)
    assert any(texts[1])


def test_only_the_answer_and_its_end_are_supervised(models, tmp_path):
    recipe = question_recipe(tmp_path, [models["llama"]], ["majority", "zero-shot"])
    plan = check(recipe)
    context = context_of(plan, "zero-shot", longest=224)
    tokenizer, objective = context.spec.tokenizer, AnswerObjective(context)
    for index, example in enumerate(plan.study.splits.train[:8]):
        question = example.required_question
        ids, supervised_T = objective.train.ids[index], objective.train.supervised[index]
        answer = ids[supervised_T].tolist()
        assert answer[-1] == tokenizer.eos_token_id
        expected = question.answers[0] if question.answers else "unanswerable"
        assert tokenizer.decode(answer[:-1]).strip() == expected
        prompt = tokenizer.decode(ids[~supervised_T], skip_special_tokens=True)
        assert prompt.rstrip().endswith("Answer:")
        assert question.question in prompt
        assert question.context.split(".")[0] in prompt


def test_the_context_is_cut_and_never_the_question(models, tmp_path):
    long = [
        {**row, "context": row["context"] + " The critic hated the plot ." * 150} for row in question_rows()
    ]
    write_questions(tmp_path / "questions.jsonl", long)
    recipe = question_recipe(
        tmp_path, [models["llama"]], ["majority", "zero-shot"], encode={"truncate": "start"}
    )
    plan = check(recipe)
    assert any(finding.name == "context_cut" for finding in plan.findings)
    context, test = context_of(plan, "zero-shot", longest=224), plan.study.splits.test
    encoded = encode_questions(AnswerObjective(context).question_format, test)
    assert encoded.prompts.truncated_N.all()
    for index, example in enumerate(test):
        question, ids = example.required_question, encoded.prompts.prompt_ids[index]
        assert len(ids) <= 700 - 24
        assert question.question in context.spec.tokenizer.decode(ids)
        assert encoded.outside_N[index] == bool(question.golds), "the answer stood first"
