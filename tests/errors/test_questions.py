"""Bad questions, and the error that each gets."""

import gzip
import json

import pytest

from tests.errors.case import Case, Parts, meaning, recipe


def squad(questions: list[dict], **paragraph: object) -> str:
    """A file of SQuAD's shape with one paragraph."""
    whole = {"context": "It was in 1066.", "qas": questions, **paragraph}
    return json.dumps({"data": [{"title": "t", "paragraphs": [whole]}]})


def questions(text: str | bytes, parts: Parts, name: str = "own.json") -> Case:
    """`check` of an own questions file with this text."""
    argv = ["check", name, "--questions", "--arms", "majority"]
    return Case(argv, parts, files={name: text})


def question_rows(parts: Parts, *more: dict, **changes: object) -> Case:
    """`check` of a JSONL file whose first row has these changes."""
    rows = [{**ROW, **changes}, *more]
    return questions("\n".join(json.dumps(row) for row in rows), parts, "own.jsonl")


ROW = {"context": "It was in 1066 .", "question": "When?", "answers": ["1066"]}


QUESTION = {"id": "a", "question": "When?", "answers": [{"text": "1066", "answer_start": 10}]}


MANY = [
    {
        "context": f"paragraph {number} holds gold",
        "question": f"what {number}?",
        "answers": ["gold"] if number % 2 else [],
    }
    for number in range(60)
]


SHAPE = 'SQuAD has {"data": [{"title": …, "paragraphs": [{"context": …, "qas": […]}]}]}.'


SHAPES = 'Answers are {"text": […], "answer_start": […]}, a list of texts, one text, or empty.'


PLACE = "own.json, article 1, paragraph 1"


FILLED = "Fill it in, or remove the question."


OWN_QUESTIONS = ["check", "own.jsonl", "--questions"]


MANY_ROWS = {"own.jsonl": "\n".join(map(json.dumps, MANY))}


QUESTIONS = {
    "a list in JSON": questions(
        json.dumps([QUESTION]),
        Parts(
            "own.json",
            "there is no column context.",
            do="Name one of its columns with context: id, question, answers.",
        ),
    ),
    "not SQuAD's": questions(
        '{"rows": []}',
        Parts(
            "own.json",
            "is not SQuAD's JSON.",
            allowed=SHAPE,
            do="If it has one object per line, name it .jsonl.",
        ),
    ),
    "not JSON": questions(
        '{"data": [', Parts("own.json", "is not JSON: Expecting value: line 1 column 11 (char 10).", do=SHAPE)
    ),
    "no question": questions('{"data": []}', Parts("own.json", "contains no question.", allowed=SHAPE)),
    "damaged gzip": questions(
        gzip.compress(squad([QUESTION]).encode())[:40],
        Parts("own.json.gz", "is damaged: gzip cannot unpack it.", do="Download it again."),
        "own.json.gz",
    ),
    "no context": questions(squad([QUESTION], context=None), Parts(PLACE, "context is missing.", do=FILLED)),
    "no qas": questions(
        squad([QUESTION], qas=None), Parts(PLACE, "qas is missing or not a list.", allowed=SHAPE)
    ),
    "impossible with answers": questions(
        squad([{**QUESTION, "is_impossible": True}]),
        Parts(
            f"{PLACE}, question 1",
            "is_impossible is true, but there are answers.",
            do="Remove the answers, or set is_impossible to false.",
        ),
    ),
    "possible without answers": questions(
        squad([{**QUESTION, "answers": [], "is_impossible": False}]),
        Parts(
            f"{PLACE}, question 1",
            "is_impossible is false, but there is no answer.",
            do="Add the answer, or set is_impossible to true.",
        ),
    ),
    "start as text": questions(
        squad([{**QUESTION, "answers": [{"text": "1066", "answer_start": "10"}]}]),
        Parts(
            f"{PLACE}, question 1", "answer_start is '10'.", allowed="It is a number of characters, from 0."
        ),
    ),
    "no id": questions(
        squad([{**QUESTION, "id": None}]),
        Parts(f"{PLACE}, question 1", "has no id.", do="Give every question an id."),
    ),
    "an id twice": questions(
        squad([QUESTION, QUESTION]),
        Parts(
            f"{PLACE}, question 2",
            "the id 'a' is also in own.json, article 1, paragraph 1, question 1.",
            do="Make the ids unique.",
        ),
    ),
    "blank question": questions(
        squad([{**QUESTION, "question": "  "}]),
        Parts(f"{PLACE}, question 1", "question is empty.", do=FILLED),
    ),
    "nothing to answer": questions(
        squad([{**QUESTION, "answers": []}]),
        Parts("own.json", "no question has an answer.", do="Check that answers: names the right column."),
    ),
    "no column": questions(
        json.dumps({"context": "x", "answers": ["x"]}),
        Parts(
            "own.jsonl",
            "there is no column question.",
            do="Name one of its columns with question: context, answers.",
        ),
        "own.jsonl",
    ),
    "empty context": question_rows(
        Parts("own.jsonl, line 2", "the context is empty.", do="Fill it in, or remove the row."),
        {**ROW, "context": " "},
    ),
    "a number as answer": question_rows(
        Parts("own.jsonl, line 1", "the answers have the type int.", allowed=SHAPES), answers=1066
    ),
    "a number among answers": question_rows(
        Parts(
            "own.jsonl, line 1",
            "the answer 7 is not text.",
            allowed=SHAPES,
            do="Write an empty list for no answer.",
        ),
        answers=["1066", 7],
    ),
    "an empty answer": question_rows(
        Parts(
            "own.jsonl, line 1",
            "an answer is empty.",
            allowed=SHAPES,
            do="Write an empty list for no answer.",
        ),
        answers=[""],
    ),
    "starts of another number": question_rows(
        Parts(
            "own.jsonl, line 1",
            "there are 1 answers and 2 answer_start.",
            allowed="Each answer has one.",
            do="Fix the row, or leave answer_start out.",
        ),
        answers={"text": ["1066"], "answer_start": [1, 2]},
    ),
    "broken JSON in a cell": questions(
        'context,question,answers\nIt was in 1066 .,When?,"[""1066"\n',
        Parts(
            "own.csv, row 2",
            "the answers are not JSON: Unterminated string starting at: line 1 column 2 (char 1).",
            allowed=SHAPES,
        ),
        "own.csv",
    ),
    "an answer that is nowhere": questions(
        "\n".join(map(json.dumps, [*MANY[:3], {**MANY[3], "answers": ["silver"]}, *MANY[4:]])),
        Parts(
            "audit, answer_not_in_context",
            "1 question has an answer that is not in the context: no span can be correct, and none is "
            "learnt from it.",
            do="Fix it, or continue at your own risk with audit.allow: [answer_not_in_context].",
        ),
        "own.jsonl",
    ),
    "text beside questions": Case(
        [*OWN_QUESTIONS, "--arms", "majority", "--text", "x"],
        Parts(
            "--text",
            "cannot be combined with --questions.",
            do="Name the columns with --set task.questions.question=COLUMN.",
        ),
        files=MANY_ROWS,
    ),
    "questions beside a task": Case(
        ["check", "squad_v2", "--questions", "--arms", "majority"],
        Parts("--questions", "applies to your own file, but squad_v2 is a task.", do="Remove the option."),
    ),
    "a template without its holes": Case(
        [*OWN_QUESTIONS, "--arms", "majority", "--set", "task.questions.template=x"],
        Parts(
            "--set task.questions.template=x",
            "task.questions.template is 'x'; it must contain {context} and {question} once each.",
            do=meaning("task.questions.template"),
        ),
        files=MANY_ROWS,
    ),
    "an instruction without a way out": Case(
        [*OWN_QUESTIONS, "--arms", "majority", "--set", "task.questions.instruction=Answer."],
        Parts("command line", "task.questions: instruction must contain no_answer, 'unanswerable'."),
        files=MANY_ROWS,
    ),
    "train without test": recipe(
        "task: {squad_v2: {train: a.json}}\narms: [majority]\n",
        Parts("recipe.yaml, line 1", "task.squad_v2: set both train and test, or neither."),
    ),
    "a folder that is not there": recipe(
        "task: {squad_v2: {path: nowhere}}\narms: [majority]\n",
        Parts(
            "nowhere", "does not exist.", do="Name the folder that holds the files train-v2.0 and dev-v2.0."
        ),
    ),
    "an encoder that should write": Case(
        [*OWN_QUESTIONS, "--models", "models/distilbert", "--arms", "majority,zero-shot"],
        Parts("arms: zero-shot", "distilbert is an encoder: it writes no answers. Use head, lora or full."),
        files=MANY_ROWS,
    ),
    "no room for the context": Case(
        [
            *OWN_QUESTIONS,
            "--models",
            "models/distilbert",
            "--arms",
            "majority,full",
            "--set",
            "encode.max_length=20",
        ],
        Parts("question row-<library>", "<library>", do="Raise encode.max_length, or lower encode.stride."),
        files=MANY_ROWS,
    ),
    "no room to say that there is none": Case(
        [
            *OWN_QUESTIONS,
            "--models",
            "models/llama",
            "--arms",
            "majority,zero-shot",
            "--set",
            "encode.answer_tokens=3",
            "--set",
            "task.questions.instruction=unanswerable",
        ],
        Parts(
            "encode.answer_tokens",
            "3 leaves no room to say 'unanswerable' and to end.",
            do="Raise it, or choose a shorter no_answer.",
        ),
        files=MANY_ROWS,
    ),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_bad_questions_get_their_error(name, provoke):
    provoke(QUESTIONS[name])
