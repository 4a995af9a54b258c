"""What a study's files are called, and how they are read back."""

import json
from pathlib import Path

import pytest

from tests.arms.small import small_recipe
from tests.monitoring import run_recorded
from tuneproof.errors import RunError
from tuneproof.record.conclude import conclude
from tuneproof.record.study_folder import FORMAT, arm_folder, read_arm, read_items, read_study, slug


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("few-shot", "few-shot"),
        ("meta-llama/Llama-3.2-1B", "meta-llama-Llama-3.2-1B"),
        ("../../etc/passwd", "etc-passwd"),
        ("..", "arm"),
        ("", "arm"),
        ("a b\tc\n\0d", "a-b-c-d"),
        ("größe", "gr-e"),
        ("x" * 300, "x" * 80),
    ],
)
def test_any_name_becomes_a_file_name(name, wanted) -> None:
    found = slug(name)
    assert found == wanted or (name == "größe" and found.isascii())
    assert "/" not in found
    assert not found.startswith(".")


def test_an_arms_folder_has_what_the_arm_has(tmp_path) -> None:
    assert arm_folder(tmp_path, None, "majority", None) == tmp_path / "arms" / "majority"
    assert arm_folder(tmp_path, "m", "lora", 2) == tmp_path / "arms" / "m.lora.seed2"
    assert arm_folder(tmp_path, "m", "head", None) == tmp_path / "arms" / "m.head"


def test_long_names_of_two_seeds_have_two_folders(tmp_path) -> None:
    names = {arm_folder(tmp_path, "m" * 60, "a" * 60, seed) for seed in (0, 1, 10)}
    assert len(names) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((None, "a b", None), (None, "a/b", None)),
        (("m", "a b", 0), ("m", "a-b", 0)),
        (("m.a", "b", None), ("m", "a.b", None)),
        (("m", "lora", 1), ("m", "lora.seed1", None)),
        ((None, "größe", None), (None, "gräße", None)),
        ((None, "..", None), (None, "...", None)),
    ],
)
def test_two_arms_never_share_a_folder(tmp_path, one, other) -> None:
    assert arm_folder(tmp_path, *one) != arm_folder(tmp_path, *other)
    assert arm_folder(tmp_path, *one).parent == tmp_path / "arms"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    recipe = small_recipe(tmp_path_factory.mktemp("record"), [], ["lexical", "majority"])
    run_recorded(recipe)
    return recipe


def test_a_study_reads_back_in_the_recipes_order(study) -> None:
    record = read_study(study.out)
    assert [arm.about["arm"] for arm in record.arms] == ["lexical", "majority"]
    assert record.recipe_text == study.text()
    assert record.provenance["versions"]["python"]
    assert record.splits["fingerprints"]
    assert record.comparisons["verdict"]["sentence"]
    assert all(arm.scores["accuracy"]["n"] == 12 for arm in record.arms)


def test_items_hold_every_part_once(study) -> None:
    parts = {part: read_items(study.out, part) for part in ("train", "dev", "test")}
    assert [len(items.ids) for items in parts.values()] == [36, 12, 12]
    every = [identity for items in parts.values() for identity in items.ids]
    assert len(set(every)) == 60
    assert set(parts["test"].golds) == {"negative", "positive"}


def test_a_study_that_was_moved_reads_the_same(study, tmp_path) -> None:
    import shutil

    moved = shutil.copytree(study.out, tmp_path / "moved")
    assert [arm.about for arm in read_study(moved).arms] == [arm.about for arm in read_study(study.out).arms]


def test_what_is_no_study_is_named(tmp_path) -> None:
    with pytest.raises(RunError, match="holds no study"):
        read_study(tmp_path)
    with pytest.raises(RunError, match=r"holds no finished arm \(arm\.json is missing\)"):
        read_arm(tmp_path)
    assert read_items(tmp_path).ids == []
    (tmp_path / "items.parquet").write_bytes(b"no")
    with pytest.raises(RunError, match="is not a file of items"):
        read_items(tmp_path)


def test_a_line_of_steps_that_was_cut_off_is_left_out_and_a_broken_one_named(study, tmp_path) -> None:
    import shutil

    moved = shutil.copytree(study.out, tmp_path / "moved")
    steps = moved / "arms" / "lexical" / "steps.jsonl"
    step = {"step": 1, "epoch": 0.5, "loss": None, "learning_rate": 0.1}
    steps.write_text(json.dumps(step) + '\n{"step": 2, "lo')
    assert [arm.steps for arm in read_study(moved).arms] == [[step], []]
    steps.write_text('{"step": 1, "lo\n{"step": 2}\n')
    with pytest.raises(RunError, match=r"steps\.jsonl: is not lines of JSON"):
        read_study(moved)


def test_a_study_of_format_1_is_not_run_again_and_is_scored_again_only_while_its_recipe_is_valid(
    tmp_path,
) -> None:
    recipe = small_recipe(tmp_path, [], ["majority"])
    run_recorded(recipe)
    folder = Path(recipe.out)
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance.pop("format") == FORMAT
    (folder / "provenance.json").write_text(json.dumps(provenance))
    with pytest.raises(RunError, match=r"written by another version of tuneproof \(study format 1"):
        run_recorded(recipe)
    assert conclude(folder)["sentence"]
    (folder / "recipe.yaml").write_text("tasks: sst2\n")
    with pytest.raises(RunError, match="Run the study again in a new folder"):
        conclude(folder)
