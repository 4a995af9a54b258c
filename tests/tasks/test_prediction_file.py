"""Files of predictions from elsewhere: matched by id or text; what could mean two things is refused."""

import json

import numpy as np
import pytest

from tuneproof.errors import DataError
from tuneproof.tasks.prediction_file import PredictionColumns, read_prediction_file

LABELS = ("negative", "positive")


def read(tmp_path, content, name="p.csv", **columns):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return read_prediction_file(str(path), PredictionColumns(**columns), LABELS)


def message(tmp_path, content, name="p.csv", **columns):
    with pytest.raises(DataError) as error:
        read(tmp_path, content, name, **columns)
    return str(error.value).replace(f"{tmp_path}/", "")


def test_rows_are_read_by_id(tmp_path):
    rows = read(tmp_path, "id,predicted\na,positive\n7.0,negative\n")
    assert rows.row_of == {"a": 0, "7.0": 1}
    assert list(rows.texts) == ["positive", "negative"]
    assert rows.probabilities_MC is None


@pytest.mark.parametrize("column", ["predicted", "prediction", "pred", "output", "response"])
def test_the_predictions_column_is_recognised(tmp_path, column):
    assert list(read(tmp_path, f"id,{column}\na,positive\n").texts) == ["positive"]


def test_two_columns_that_may_be_the_prediction_are_refused(tmp_path):
    problem = message(tmp_path, "id,output,predicted\na,x,positive\n")
    assert "the columns predicted and output: either may be the prediction" in problem
    assert list(read(tmp_path, "id,output,predicted\na,x,positive\n", predicted="output").texts) == ["x"]


def test_a_column_label_is_not_taken_for_the_prediction(tmp_path):
    assert "has no column of predictions" in message(tmp_path, "id,label\na,positive\n")


def test_repeated_ids_are_named(tmp_path):
    problem = message(tmp_path, "id,predicted\na,positive\nb,negative\na,positive\n")
    assert "1 values of id repeat; 'a' is in rows 2, 4" in problem


def test_a_text_may_repeat_with_one_prediction_but_not_with_two(tmp_path):
    same = "text,predicted\nfine,positive\nfine,positive\n"
    assert read(tmp_path, same, text="text").row_of == {"fine": 0}
    other = "text,predicted\nfine,positive\nfine,negative\n"
    assert "repeat with different predictions; 'fine'" in message(tmp_path, other, text="text")


def test_probabilities_are_in_the_order_of_the_labels(tmp_path):
    rows = read(tmp_path, "id,p_positive,p_negative\na,0.75,0.25\nb,,\n")
    np.testing.assert_array_equal(rows.probabilities_MC, [[0.25, 0.75], [np.nan, np.nan]])
    assert list(rows.texts) == ["", ""]


@pytest.mark.parametrize("cells", ["0.9,0.4", "-0.1,1.1", "nan,1", "inf,0", "1,"])
def test_what_is_no_distribution_is_refused(tmp_path, cells):
    problem = message(tmp_path, f"id,p_positive,p_negative\nok,0.5,0.5\na,{cells}\n")
    assert "row 3" in problem or "rows 3" in problem


def test_a_missing_column_of_probabilities_is_named(tmp_path):
    assert "no column 'p_negative'" in message(tmp_path, "id,p_positive\na,0.5\n")


def test_a_word_among_the_probabilities_is_named(tmp_path):
    problem = message(tmp_path, "id,p_positive,p_negative\na,high,0.5\n")
    assert "row 2: the column p_positive contains 'high', not a number" in problem


def test_an_object_of_answers_is_read_as_squads_script_reads_it(tmp_path):
    rows = read(tmp_path, json.dumps({"q1": "Paris", "q2": ""}), "p.json")
    assert rows.row_of == {"q1": 0, "q2": 1}
    assert list(rows.texts) == ["Paris", ""]


def test_another_object_is_refused(tmp_path):
    assert "neither id → prediction nor" in message(tmp_path, json.dumps({"a": {"b": 1}}), "p.json")


def test_a_file_without_ids_says_how_to_match(tmp_path):
    problem = message(tmp_path, "text,predicted\nfine,positive\n")
    assert "has no column 'id'" in problem
    assert "given.text: COLUMN" in problem


def samples(*replies):
    lines = [
        {"doc_id": i, "doc": {"idx": i, "sentence": f"text {i}"}, "target": "0", "filtered_resps": reply}
        for i, reply in enumerate(replies)
    ]
    return "\n".join(map(json.dumps, lines))


def test_lm_evaluation_harness_samples_are_read(tmp_path):
    text = samples(["positive"], ["negative"])
    rows = read(tmp_path, text, "samples_sst2.jsonl", id="doc.idx")
    assert rows.row_of == {"0": 0, "1": 1}
    assert list(rows.texts) == ["positive", "negative"]
    assert list(read(tmp_path, text, "samples_sst2.jsonl", text="doc.sentence").row_of) == [
        "text 0",
        "text 1",
    ]


def test_lm_evaluation_harness_choices_need_their_labels(tmp_path):
    text = samples([["-1.0", "True"], ["-3.0", "False"]], [["-2.0", "False"], ["-0.5", "True"]])
    assert "given.choices: [negative, positive]" in message(tmp_path, text, "s.jsonl", id="doc.idx")
    rows = read(tmp_path, text, "s.jsonl", id="doc.idx", choices=("positive", "negative"))
    shares = np.exp([[-3.0, -1.0], [-0.5, -2.0]])
    np.testing.assert_allclose(rows.probabilities_MC, shares / shares.sum(axis=1, keepdims=True))


def promptfoo(*rows):
    results = [
        {
            "vars": {"id": id, "text": "x"},
            "provider": {"id": provider},
            "promptIdx": 0,
            "response": None
            if output is None
            else {"output": output, "tokenUsage": {"prompt": 9, "completion": 1}},
        }
        for id, provider, output in rows
    ]
    return json.dumps({"version": 3, "results": {"results": results}})


def test_promptfoo_results_are_read(tmp_path):
    rows = read(tmp_path, promptfoo(("a", "m", "positive"), ("b", "m", None)), "r.json", id="vars.id")
    assert list(rows.texts) == ["positive", ""]
    np.testing.assert_array_equal(rows.usage["input_tokens"], [9, np.nan])


def test_promptfoo_results_of_several_providers_need_a_name(tmp_path):
    text = promptfoo(("a", "m", "positive"), ("a", "n", "negative"))
    assert "holds the results of 2 providers. They are m, n" in message(
        tmp_path, text, "r.json", id="vars.id"
    )
    assert list(read(tmp_path, text, "r.json", id="vars.id", provider="n").texts) == ["negative"]
    assert "has no provider 'q'" in message(tmp_path, text, "r.json", id="vars.id", provider="q")
