"""`show settings` is a table of every setting: its name, its default, what it means."""

import pytest

from tuneproof.cli.catalog import describe
from tuneproof.cli.settings_table import setting_rows
from tuneproof.errors import RecipeError
from tuneproof.recipe.recipe import SECTIONS


def test_every_setting_of_every_section_has_one_line_with_its_default_and_meaning():
    lines = describe("settings").splitlines()
    for name, section in SECTIONS.items():
        for field in section.model_fields:
            assert len([line for line in lines if line.split()[:1] == [f"{name}.{field}"]]) == 1
    assert any(line.split()[:2] == ["train.batch_size", "16"] for line in lines)
    assert any(line.split()[:2] == ["ARM.rank", "16"] and "lora" in line for line in lines)


def test_no_setting_is_without_a_meaning():
    without = [name for rows in setting_rows().values() for name, _, meaning in rows if not meaning.strip()]
    assert without == []


def test_one_section_alone_and_a_mistyped_name():
    assert "train.epochs" in describe("train")
    assert "split.seed" not in describe("train")
    with pytest.raises(RecipeError, match="Did you mean settings"):
        describe("setings")
