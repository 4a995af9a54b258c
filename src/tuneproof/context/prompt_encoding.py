"""A study's prompts as tokens of one model.

In: study data, a model spec, examples, shots. Out: encoded prompts and clozes; how questions are put.
Knows nothing of: weights, arms.
"""

from collections.abc import Sequence

from tuneproof.context.model_spec import ModelSpec
from tuneproof.context.study_data import StudyData
from tuneproof.data.encode import EncodedCloze, EncodedPrompts, encode_cloze, encode_prompts
from tuneproof.data.question_prompts import QuestionFormat
from tuneproof.tasks.task import Example


def encode_label_prompts(
    study: StudyData, spec: ModelSpec, examples: Sequence[Example], shots: Sequence[Example]
) -> EncodedPrompts:
    """Prompts with every label's words, for decoders.

    Raises: RecipeError where a prompt does not fit, or labels cannot be told apart.
    """
    settings = study.recipe.encode
    return encode_prompts(
        spec.tokenizer,
        spec.family,
        study.prompt,
        examples,
        shots,
        spec.max_length,
        settings.truncate,
        settings.chat,
    )


def encode_label_cloze(study: StudyData, spec: ModelSpec, examples: Sequence[Example]) -> EncodedCloze:
    """Clozes with one mask, for encoders.

    Raises: RecipeError where a label's word is not one token.
    """
    truncate = study.recipe.encode.truncate
    return encode_cloze(spec.tokenizer, spec.family, study.prompt, examples, spec.max_length, truncate)


def question_format(study: StudyData, spec: ModelSpec, shots: Sequence[Example]) -> QuestionFormat:
    """How questions are put to the model."""
    settings = study.recipe.encode
    return QuestionFormat(
        spec.tokenizer,
        spec.family,
        study.question_prompt,
        shots,
        spec.max_length,
        settings.truncate,
        settings.chat,
        settings.answer_tokens,
    )
