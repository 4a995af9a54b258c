"""Questions end to end: every arm on tiny models, what is learnt, thresholds, batches, new questions."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tuneproof
from tests.arms.questions import question_recipe, question_rows, write_questions
from tests.arms.small import arm_of, drain, folder_of, follow, steps_of
from tests.tiny_models import tiny_model
from tuneproof.apply.labels import predict
from tuneproof.arms.tuned import head_of
from tuneproof.cli.main import main
from tuneproof.context.model_spec import make_compute
from tuneproof.context.monitor import ArmEnded
from tuneproof.data.question_prompts import encode_questions
from tuneproof.errors import RecipeError, RunError
from tuneproof.inference.generate import answer_prompts, parse_question_answer
from tuneproof.inference.prediction import read_predictions
from tuneproof.models.load import load_model
from tuneproof.models.oom import AtOnce
from tuneproof.objectives.answers import AnswerObjective
from tuneproof.objectives.objective import make_objective
from tuneproof.recipe.recipe import recipe_from
from tuneproof.study.run import check
from tuneproof.train.optimizer import make_optimizer

SPANS = ["head", {"lora": {"name": "lora"}}, {"full": {"learning_rate": 1e-3}}, "lp-ft"]
WRITTEN = [
    "zero-shot",
    {"few-shot": {"shots": 2}},
    {"lora": {"name": "lora-words", "objective": "words"}},
    {"full": {"name": "full-words", "objective": "words", "learning_rate": 1e-3}},
]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    kinds = ("bert", "distilbert", "llama", "mistral", "gemma2")
    made = {kind: tiny_model(root / kind, kind) for kind in kinds}
    for kind in ("llama", "mistral", "gemma2"):  # rotary positions: as many as the prompts need
        file = made[kind] / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "max_position_embeddings": 1024}))
    return made


@pytest.fixture(scope="module")
def study(models, tmp_path_factory):
    """Every kind of arm on a tiny Llama, carried out."""
    folder = tmp_path_factory.mktemp("study")
    arms = ["majority", "lexical", *SPANS, *WRITTEN]
    recipe = question_recipe(folder, [models["llama"]], arms)
    return recipe, follow(recipe)


def test_every_arm_is_carried_out_to_a_report(study):
    recipe, events = study
    ended = [event for event in events if isinstance(event, ArmEnded)]
    assert {event.status for event in ended} == {"done"}, [e.line for e in ended]
    assert len(ended) == 10
    out = Path(recipe.out)
    page = (out / "report.html").read_text("utf-8")
    for said in ("No answer", "oracle: best on test", "by question word", "F1 in %"):
        assert said in page
    verdict = json.loads((out / "comparisons.json").read_text())["verdict"]
    assert verdict["sentence"]


@pytest.mark.parametrize("name", ["lexical", "head", "lora", "full", "lp-ft", "zero-shot"])
def test_the_threshold_is_what_dev_chooses_and_stands_in_the_predictions(study, name):
    recipe, _ = study
    about = arm_of(recipe, name)
    chosen = about["chosen"] if name == "lexical" else about["chosen"]["answers"]
    folder = folder_of(recipe, name)
    dev, test = (read_predictions(folder / f"{part}predictions.parquet") for part in ("dev_", ""))
    assert test.threshold == dev.threshold == chosen["no_answer_threshold"]
    from tuneproof.score.threshold import best_threshold

    assert best_threshold(dev).threshold == pytest.approx(chosen["no_answer_threshold"])
    assert chosen["by"] == "highest F1 on dev"
    assert np.isfinite(test.null_N).all()


@pytest.mark.parametrize("name", ["lora", "full", "lora-words", "full-words"])
def test_training_lowers_the_loss_on_dev(study, name):
    recipe, _ = study
    losses = [s["dev_loss"] for s in steps_of(recipe, name) if s["dev_loss"] is not None]
    assert len(losses) == 2
    first = np.mean([s["loss"] for s in steps_of(recipe, name)[:2]])
    assert min(losses) < first * 1.05


def test_a_ledger_of_a_span_head_has_two_rows_and_two_biases(study):
    recipe, _ = study
    ledger = json.loads((folder_of(recipe, "head") / "ledger.json").read_text())
    assert ledger["trainable"] == 2 * 32 + 2
    assert {
        key: line[key] for line in ledger["lines"] for key in ("what", "count") if line["what"] == "head"
    } == {"what": "head", "count": 66}


def test_a_llamas_base_is_the_checkpoints_under_a_span_head(models):
    """transformers names the base otherwise there, and would leave all of it at random."""
    recipe = question_recipe(models["llama"].parent, [models["llama"]], ["majority", "full"])
    ready = check(recipe).readies[0]
    parts = (ready.source, ready.config, ready.tokenizer, ready.family)
    spans = load_model(*parts, head="span", seed=0)
    base = load_model(*parts, head="base").model
    assert set(spans.fresh) == {"qa_outputs.weight", "qa_outputs.bias"}
    ours = spans.model.transformer.state_dict()
    for name, value in base.state_dict().items():
        assert torch.equal(value, ours[name]), name


@pytest.mark.parametrize("kind", ["bert", "distilbert", "llama"])
def test_eight_windows_can_be_learned_by_heart(models, tmp_path, kind):
    recipe = question_recipe(tmp_path, [models[kind]], ["majority", "full"], encode={"max_length": 96})
    plan = check(recipe)
    ready, compute = plan.readies[0], make_compute(recipe.compute, 96)
    objective = make_objective("head", plan.shared, ready, compute)
    model = load_model(
        ready.source, ready.config, ready.tokenizer, ready.family, head=head_of("head", "questions"), seed=0
    ).model
    part = objective.collate(np.arange(8))
    optimizer = make_optimizer(model, 5e-3, 0.0)
    for _ in range(200):
        optimizer.zero_grad()
        found = objective.loss(model, part)
        (found.sum / found.count).backward()
        optimizer.step()
        if float(found.sum) / found.count < 0.02:
            break
    items = [plan.splits.train[w.item] for w in objective.train.windows[:8]]
    said = drain(objective.ask(model, items, "eight"))
    assert said.right_N.all(), list(zip(said.texts, said.golds, strict=True))
    assert {bool(text) for text in said.texts} == {True, False}, "both kinds are learnt"


def test_a_causal_null_slot_has_read_the_context(models, tmp_path):
    """The first position of a causal model would say the same of every question."""
    recipe = question_recipe(tmp_path, [models["llama"]], ["majority", "full"])
    plan = check(recipe)
    ready, compute = plan.readies[0], make_compute(recipe.compute, 224)
    objective = make_objective("head", plan.shared, ready, compute)
    model = load_model(ready.source, ready.config, ready.tokenizer, ready.family, head="span", seed=0).model
    said, found = drain(objective._asked(model, plan.splits.test, "test"))
    assert found.null_W.std() > 1e-3
    assert said.null_N.std() > 1e-3


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_answers_of_a_batch_are_those_of_batches_of_one(models, tmp_path, kind):
    recipe = question_recipe(tmp_path, [models[kind]], ["majority", "zero-shot"])
    plan = check(recipe)
    ready, compute = plan.readies[0], make_compute(recipe.compute, 224)
    asker = AnswerObjective(plan.shared, ready, compute)
    model = load_model(ready.source, ready.config, ready.tokenizer, ready.family, head="words").model
    encoded = encode_questions(asker.asking, plan.splits.test)
    assert len({len(ids) for ids in encoded.asked.prompts}) > 1, "padding is at work"
    texts = {}
    for size in (1, 7):
        texts[size] = [""] * len(plan.splits.test)
        for _ in answer_prompts(
            model,
            ready.tokenizer,
            encoded.asked,
            ready.pad.id,
            AtOnce(size),
            24,
            "cpu",
            texts[size],
            encoded.ends,
        ):
            pass
    assert texts[1] == texts[7]
    assert any(texts[1])


def test_what_is_learnt_is_the_answer_and_its_end_alone(models, tmp_path):
    recipe = question_recipe(tmp_path, [models["llama"]], ["majority", "zero-shot"])
    plan = check(recipe)
    ready = plan.readies[0]
    asker = AnswerObjective(plan.shared, ready, make_compute(recipe.compute, 224))
    for place, example in enumerate(plan.splits.train[:8]):
        ids, marks = asker.train.ids[place], asker.train.supervised[place]
        answer = ids[marks].tolist()
        assert answer[-1] == ready.tokenizer.eos_token_id
        wanted = example.asked.answers[0] if example.asked.answers else "unanswerable"
        assert ready.tokenizer.decode(answer[:-1]).strip() == wanted
        prompt = ready.tokenizer.decode(ids[~marks], skip_special_tokens=True)
        assert prompt.rstrip().endswith("Answer:")
        assert example.asked.question in prompt
        assert example.asked.context.split(".")[0] in prompt


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
    ready = plan.readies[0]
    asker = AnswerObjective(plan.shared, ready, make_compute(recipe.compute, 224))
    items = plan.splits.test
    encoded = encode_questions(asker.asking, items)
    assert encoded.asked.truncated_N.all()
    for place, example in enumerate(items):
        text = ready.tokenizer.decode(encoded.asked.prompts[place])
        assert len(encoded.asked.prompts[place]) <= 700 - 24
        assert example.asked.question in text
        assert encoded.outside_N[place] == bool(example.asked.golds), "the answer stood first"


@pytest.mark.parametrize(
    ("kind", "arm", "said"),
    [
        ("bert", "zero-shot", "is an encoder: it writes no answers. Use head, lora or full."),
        ("gemma2", "full", "has no question-answering head for gemma2. Use lora or full with"),
        ("llama", {"head": {"pooling": "mean"}}, "A head over spans reads every token."),
        ("bert", {"full": {"objective": "words"}}, "it continues no words"),
    ],
)
def test_what_a_model_cannot_do_is_said_before_it_loads(models, tmp_path, kind, arm, said):
    with pytest.raises(RecipeError, match=said):
        check(question_recipe(tmp_path, [models[kind]], ["majority", arm]))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Paris", "Paris"),
        ("  in   1066 ", "in 1066"),
        ("Unanswerable.", ""),
        ('"unanswerable" in this context', ""),
        ("unanswerables", "unanswerables"),
        ("not unanswerable", "not unanswerable"),
        ("", ""),
    ],
)
def test_an_answer_is_read_off_what_was_written(text, answer):
    assert parse_question_answer(text, "unanswerable") == answer


@pytest.mark.parametrize("name", ["lexical", "head", "full", "lora", "few-shot", "full-words"])
def test_new_questions_are_answered_as_the_test_questions_were(study, tmp_path, name):
    recipe, _ = study
    test = read_predictions(folder_of(recipe, name) / "predictions.parquet")
    rows = {row["id"]: row for row in question_rows()}
    file = tmp_path / "new.jsonl"
    asked = [{"question": rows[i]["question"], "context": rows[i]["context"], "mine": i} for i in test.ids]
    file.write_text("\n".join(json.dumps(row) for row in asked))
    out = tmp_path / "said.csv"
    words = ["predict", str(folder_of(recipe, name)), "--input", str(file), "--output", str(out)]
    assert main(words) == 0
    with open(out, newline="", encoding="utf-8") as found:
        said = list(csv.DictReader(found))
    assert [row["mine"] for row in said] == list(test.ids)
    assert [row["predicted"] for row in said] == test.texts
    found = tuneproof.answer(
        folder_of(recipe, name), [row["question"] for row in asked], [row["context"] for row in asked]
    )
    assert found.texts == test.texts
    nulls = [float(row["null_score"]) for row in said]
    assert nulls == pytest.approx(test.null_N.tolist(), abs=2e-3)


def test_an_arm_of_questions_labels_no_texts_and_says_what_to_use(study):
    recipe, _ = study
    with pytest.raises(RunError, match=r"Use tuneproof\.answer"):
        predict(folder_of(recipe, "lexical"), ["a text"])


def test_a_study_of_questions_always_has_both_baselines_first(models, tmp_path):
    recipe = question_recipe(tmp_path, [models["llama"]], ["full"])
    assert [arm.name for arm in recipe.arms] == ["majority", "lexical", "full"]
    named = question_recipe(tmp_path, [models["llama"]], ["full", "majority"])
    assert [arm.name for arm in named.arms] == ["lexical", "full", "majority"]
    assert recipe_from(recipe.values()) == recipe


def test_without_wordnet_the_report_says_that_meteor_is_not_computed_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("WORDNET", str(tmp_path / "nowhere"))
    recipe = question_recipe(tmp_path, [], ["majority", "lexical"])
    follow(recipe)
    for name in ("report.html", "report.md"):
        said = (Path(recipe.out) / name).read_text("utf-8")
        assert "meteor is not computed" in said
        assert "wordnet-base" in said
    scores = json.loads((folder_of(recipe, "lexical") / "scores.json").read_text())
    assert "rouge1" in scores
    assert "meteor" not in scores
    claim = {"arm": "lexical", "over": "majority", "metric": "meteor"}
    with pytest.raises(RecipeError, match="WordNet is not on this machine"):
        check(question_recipe(tmp_path, [], ["majority", "lexical"], claim=claim))


def test_answers_that_are_too_long_to_be_learnt_whole_are_counted(models, tmp_path):
    rows = [
        {**row, "context": 3 * row["context"], "answers": [3 * row["context"]] * len(row["answers"])}
        for row in question_rows()
    ]
    write_questions(tmp_path / "questions.jsonl", rows)
    arms = ["majority", {"full": {"objective": "words"}}]
    plan = check(question_recipe(tmp_path, [models["llama"]], arms))
    found = {finding.name: finding for finding in plan.findings}
    assert found["answer_cut"].count > 0
    assert "learnt without the end" in found["answer_cut"].message
