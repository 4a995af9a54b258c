"""Log-probabilities of a server become those of labels only where they say which label is meant."""

import math

import pytest

from tuneproof.methods.endpoint_labels import answer_log_probability, first_token_labels

WORDS = ("negative", "positive")


def chat(*tops):
    content = [
        {
            "token": next(iter(top)),
            "logprob": next(iter(top.values())),
            "top_logprobs": [{"token": token, "logprob": value} for token, value in top.items()],
        }
        for top in tops
    ]
    return {"logprobs": {"content": content}}


def completion(*tops):
    return {"logprobs": {"tokens": [next(iter(top)) for top in tops], "top_logprobs": list(tops)}}


@pytest.mark.parametrize("form", [chat, completion])
def test_the_first_token_that_is_not_blank_decides(form):
    first = first_token_labels(form({"\n": -0.1}, {" Pos": -0.5, "neg": -1.5, "The": -3.0}), WORDS)
    assert first.log_probabilities == pytest.approx([-1.5, -0.5])
    assert not first.bounded


def test_a_label_beside_a_blank_decides_before_the_token_after_it():
    first = first_token_labels(chat({"\n": -0.1, " positive": -2.5, " negative": -3.5}, {"neg": -0.1}), WORDS)
    assert first.log_probabilities == pytest.approx([-3.5, -2.5])


def test_spellings_of_one_label_add_up():
    first = first_token_labels(
        chat({"neg": math.log(0.2), " Neg": math.log(0.3), "pos": math.log(0.4)}), WORDS
    )
    assert first.log_probabilities == pytest.approx([math.log(0.5), math.log(0.4)])


def test_a_label_that_is_not_reported_is_at_most_the_least_reported():
    first = first_token_labels(chat({"positive": -0.1, "x": -4.0}), WORDS)
    assert first.bounded
    assert first.log_probabilities == pytest.approx([-4.0, -0.1])


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ({"The": -0.1, "A": -2.0}, WORDS),
        ({"very": -0.1}, ("very bad", "very good")),
        ({"n": -0.1, "positive": -2.5}, ("negative", "neutral", "positive")),
        ({"negative": -1.0, "positive": -1.0}, WORDS),
    ],
)
def test_tokens_that_do_not_tell_the_labels_apart_decide_nothing(tokens, words):
    assert first_token_labels(chat(tokens), words).log_probabilities is None


def test_a_rare_ambiguous_token_changes_no_decision():
    first = first_token_labels(chat({"positive": -0.1, "n": -5.0}), ("negative", "neutral", "positive"))
    assert max(range(3), key=first.log_probabilities.__getitem__) == 2


@pytest.mark.parametrize(
    "logprobs",
    [
        *(None, [], {}, {"content": None}, {"content": [None]}, {"tokens": ["a"]}),
        {"content": [{"token": "x", "logprob": "y"}]},
        {"tokens": ["a"], "top_logprobs": [None]},
        {"tokens": 1, "top_logprobs": 2},
        {"content": [{"token": "pos", "logprob": float("inf"), "top_logprobs": 3}]},
    ],
)
def test_anything_else_is_no_log_probability(logprobs):
    assert first_token_labels({"logprobs": logprobs}, WORDS) is None
    assert answer_log_probability({"text": "ab", "logprobs": logprobs}, "a", "b") is None


def echoed(tokens, values):
    return {"text": "".join(tokens), "logprobs": {"tokens": tokens, "token_logprobs": values}}


def test_the_answers_tokens_are_added_up_without_what_was_written_after_them():
    tokens = ["", "Label", ":", " pos", "itive", " pos", ""]
    choice = echoed(tokens, [None, -9.0, -9.0, -0.5, -0.25, -9.0, -9.0])
    assert answer_log_probability(choice, "Label:", " positive") == pytest.approx(-0.75)


def test_a_repeated_answer_is_not_taken_for_the_prompts():
    choice = echoed(["Label:", " positive", " positive"], [None, -0.5, -7.0])
    assert answer_log_probability(choice, "Label:", " positive") == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("tokens", "values"),
    [
        (["Label: pos", "itive", "."], [None, -1.0, -1.0]),  # no token begins where the answer begins
        (["Label:", " positive"], [None, None]),
        (["Label:", " positive"], [None, float("nan")]),
        (["Label:", " positive"], [None]),
        (["Other:", " positive"], [None, -1.0]),
    ],
)
def test_an_answer_that_cannot_be_told_from_the_prompt_has_no_probability(tokens, values):
    assert answer_log_probability(echoed(tokens, values), "Label:", " positive") is None
