"""What the audit says of a prompt before a model loads."""

import pytest

from tuneproof.recipe.recipe import read_recipe
from tuneproof.study.plan import check


@pytest.mark.parametrize(
    ("options", "arms", "count"),
    [
        ("", "[majority, zero-shot, few-shot]", 1),
        ("", "[majority, head]", 0),
        ('    labels: ["0", "1"]\n    words: [bad, good]\n', "[majority, zero-shot]", 0),
        ("    instruction: Say 1 if the text is kind, else 0.\n", "[majority, zero-shot]", 0),
    ],
    ids=["prompts", "no prompt", "words", "instruction"],
)
def test_numbers_as_label_words_are_a_warning_for_prompts(tmp_path, options, arms, count):
    rows = "".join(f"text {n},{n % 2}\n" for n in range(40))
    (tmp_path / "own.csv").write_text(f"text,label\n{rows}")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"task:\n  labels:\n    path: {tmp_path}/own.csv\n{options}models: [demo]\narms: {arms}\n"
    )
    plan = check(read_recipe(recipe))
    assert [finding.name for finding in plan.findings].count("label_numbers") == count
