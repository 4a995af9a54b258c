"""What a model cannot be used for is an error before its weights load."""

import pytest

from tests.arms.questions import question_models, question_recipe
from tuneproof.errors import RecipeError
from tuneproof.study.plan import check


@pytest.mark.parametrize(
    ("kind", "arm", "error"),
    [
        ("bert", "zero-shot", "is an encoder: it writes no answers. Use head, lora or full."),
        ("gemma2", "full", "has no question-answering head for gemma2. Use lora or full with"),
        ("llama", {"head": {"pooling": "mean"}}, "A head over spans reads every token."),
        ("bert", {"full": {"objective": "words"}}, "it continues no words"),
    ],
)
def test_an_arm_that_a_model_cannot_run_is_refused_before_it_loads(tmp_path, kind, arm, error):
    models = question_models(tmp_path, [kind])
    with pytest.raises(RecipeError, match=error):
        check(question_recipe(tmp_path, [models[kind]], ["majority", arm]))
