from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tuneproof.data.splits import PARTS, find_same_texts, make_splits
from tuneproof.errors import DataError, RecipeError
from tuneproof.settings import SplitSettings
from tuneproof.tasks import TASKS
from tuneproof.tasks.normalise import normalise_text
from tuneproof.tasks.task import Example, Rows

TASK = TASKS["labels"]
SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def example(index: int, text: str = "", label: int = 0, group: str = "") -> Example:
    return Example(f"row-{index}", text or f"text number {index}", label, group or f"row-{index}")


def rows(items=None, grouped=False, **parts) -> Rows:
    return Rows(
        parts=parts or {"all": items},
        labels=("neg", "pos"),
        source={"name": "made up"},
        dropped={"empty text": 3},
        grouped=grouped,
    )


def many(count: int, start: int = 0, words: str = "text") -> list[Example]:
    return [example(start + i, f"{words} {start + i}", i % 2) for i in range(count)]


def ids(splits) -> dict[str, set[str]]:
    return {name: {item.id for item in splits.part(name)} for name in PARTS}


def settings(**changes) -> SplitSettings:
    return SplitSettings(**{"kind": "shares", **changes})


def test_seventy_ten_twenty_is_stratified():
    splits = make_splits(TASK, rows(many(1000)), settings(shares=(70, 10, 20)))
    assert splits.report["sizes"] == {"train": 700, "dev": 100, "test": 200}
    assert splits.report["labels"]["test"] == {"neg": 100, "pos": 100}
    assert splits.report["dropped"] == {"empty text": 3}


def test_with_two_shares_dev_is_cut_from_train():
    splits = make_splits(TASK, rows(many(1000)), settings(shares=(80, 20), dev_share=0.25))
    assert splits.report["sizes"] == {"train": 600, "dev": 200, "test": 200}


def test_the_official_test_part_is_kept_and_dev_cut_from_train():
    source = rows(train=many(100), test=many(40, start=500))
    splits = make_splits(TASK, source, SplitSettings())
    assert splits.report["kind"] == "official"
    assert splits.report["sizes"] == {"train": 90, "dev": 10, "test": 40}
    assert ids(splits)["test"] == {item.id for item in source.parts["test"]}


def test_a_file_without_a_test_part_is_divided_by_shares():
    assert make_splits(TASK, rows(many(100)), SplitSettings()).report["kind"] == "shares"


def test_official_without_a_test_part_is_refused():
    with pytest.raises(RecipeError) as error:
        make_splits(TASK, rows(many(100)), SplitSettings(kind="official"))
    assert str(error.value) == (
        "split.kind: is official, but the source has no test set. Set split.kind: shares, or name a "
        "test file."
    )


def test_groups_stay_on_one_side():
    items = [example(i, f"text {i}", i % 2, f"author {i % 40}") for i in range(800)]
    splits = make_splits(TASK, rows(items, grouped=True), settings(shares=(60, 20, 20)))
    groups = [{item.group for item in splits.part(name)} for name in PARTS]
    assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2])
    assert splits.report["groups"]["train"] == len(groups[0])


def test_equal_texts_stay_on_one_side_of_a_safe_split():
    items = [example(i, f"Text, number {i // 4}{'!' * (i % 4)}", i // 4 % 2) for i in range(400)]
    splits = make_splits(TASK, rows(items), settings(shares=(60, 20, 20)))
    texts = [{item.text.rstrip("!") for item in splits.part(name)} for name in PARTS]
    assert not (texts[0] & texts[1] | texts[0] & texts[2] | texts[1] & texts[2])
    assert splits.report["overlap"]["items"] == 0


def test_a_plain_random_split_reports_the_overlap():
    items = [example(i, f"text number {i // 4}", i // 4 % 2) for i in range(400)]
    splits = make_splits(TASK, rows(items), settings(leak_safe=False))
    overlap = splits.report["overlap"]
    assert overlap["share"] == overlap["items"] / 80 > 0.9
    assert len(overlap["examples"]) == 10
    assert overlap["examples"][0]["test"] == overlap["examples"][0]["train"]


def test_what_gives_a_test_item_away_leaves_train_with_a_count():
    twins = [example(900 + i, f"TEXT  {500 + i}.", i % 2) for i in range(6)]
    source = rows(train=[*many(100), *twins], test=many(40, start=500))
    splits = make_splits(TASK, source, SplitSettings())
    dropped = splits.report["dropped"]
    assert sum(dropped.get(f"{part}: same text as a test item", 0) for part in ("train", "dev")) == 6
    assert not {item.id for item in twins} & (ids(splits)["train"] | ids(splits)["dev"])
    assert splits.report["sizes"]["test"] == 40


def test_a_smaller_size_is_a_prefix_of_a_larger_one():
    source = rows(many(1000))
    small, large = (
        make_splits(TASK, source, settings(train_size=size, test_size=size)) for size in (20, 100)
    )
    assert small.train == large.train[:20]
    assert small.test == large.test[:20]
    assert small.report["labels"]["train"] == {"neg": 10, "pos": 10}
    assert small.dev == large.dev


def test_whole_groups_are_sampled_where_the_recipe_says_so():
    items = [example(i, label=i % 2, group=f"g{i // 7}") for i in range(700)]
    splits = make_splits(TASK, rows(items, True), settings(test_size=30, sample_unit="group"))
    members = Counter(item.group for item in splits.test)
    assert set(members.values()) == {7}
    assert len(splits.test) == 28
    with pytest.raises(
        RecipeError, match=r"split\.test_size: no group of test has 6 items or fewer\. Raise it"
    ):
        make_splits(TASK, rows(items, True), settings(test_size=6, sample_unit="group"))


def test_the_seed_decides():
    source = rows(many(200))
    first, again, other = (make_splits(TASK, source, settings(seed=seed)) for seed in (0, 0, 1))
    assert first == again
    assert ids(first)["test"] != ids(other)["test"]


def test_rows_sorted_by_label_are_shuffled_and_said_to_be_sorted():
    items = [example(i, f"text {i}", i // 100) for i in range(200)]
    splits = make_splits(TASK, rows(items), settings())
    assert splits.report["sorted_by_label"] == ["all"]
    for start in range(0, len(splits.train) - 8, 8):
        assert len({item.label for item in splits.train[start : start + 8]}) == 2


def test_the_fingerprint_follows_the_items_and_not_their_order():
    source = many(100)
    first = make_splits(TASK, rows(train=source, test=many(20, 500)), SplitSettings())
    turned = make_splits(TASK, rows(train=source, test=many(20, 500)[::-1]), SplitSettings())
    changed = [*many(19, 500), example(519, "another text", 1)]
    other = make_splits(TASK, rows(train=source, test=changed), SplitSettings())
    prints = [splits.report["fingerprints"]["test"] for splits in (first, turned, other)]
    assert prints[0] == prints[1] != prints[2]


BAD = {
    "one group holds everything": (
        [example(i, label=i % 2, group="all") for i in range(50)],
        {},
        True,
        "split: all 50 items belong to the group 'all', so that no part can be held out. Name another "
        "group column, or leave group out.",
    ),
    "one text": (
        [example(i, "the same", i % 2) for i in range(50)],
        {},
        False,
        "split: all 50 items have the same text, so that no part can be held out. Check that text: "
        "names the right column.",
    ),
    "two groups for three parts": (
        [example(i, label=i % 2, group=str(i % 2)) for i in range(50)],
        {"shares": (70, 10, 20)},
        True,
        "split: dev would be empty (train 50, dev 0, test 0 items). Change split.shares or "
        "split.dev_share, or add items, or use smaller groups.",
    ),
    "a label of two items": (
        [example(i, label=int(i < 2)) for i in range(50)],
        {},
        False,
        "split: dev would have no item of the label 'pos' (4 of 50 items are in dev). Add items of that "
        "label, give the part a larger share, or remove the label.",
    ),
    "a share of zero": (
        many(50),
        {"shares": (100, 0)},
        False,
        "split.shares: 100:0 has a share that is not above zero. Write [70, 10, 20].",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_split_that_cannot_be_is_refused(case):
    items, changes, grouped, expected = BAD[case]
    with pytest.raises((DataError, RecipeError)) as error:
        make_splits(TASK, rows(items, grouped), settings(**changes))
    assert str(error.value) == expected


def test_a_size_below_the_number_of_labels_is_refused():
    three = Rows({"all": [example(i, label=i % 3) for i in range(90)]}, ("a", "b", "c"), {"name": "x"})
    with pytest.raises(RecipeError, match=r"split\.train_size: 2 is less than the number of labels, 3"):
        make_splits(TASK, three, settings(train_size=2))


@pytest.fixture(scope="module")
def sst2():
    if not (SHARED / "sst2").is_dir():
        pytest.skip("the SST-2 files are not beside the project (../shared/data/sst2)")
    return TASKS["sst2"].read(TASKS["sst2"].options(path=str(SHARED / "sst2")))


def test_the_real_official_split_is_safe_and_keeps_its_872_items(sst2):
    report = make_splits(TASKS["sst2"], sst2, SplitSettings()).report
    assert report["sizes"]["test"] == 872
    assert report["sizes"]["train"] > 60_000
    assert report["overlap"]["items"] == 0
    kept = sum(report["sizes"].values())
    assert kept + sum(report["dropped"].values()) == 67_349 + 872


def test_a_real_random_split_is_leaky_and_a_safe_one_is_not(sst2):
    leaky = make_splits(TASKS["sst2"], sst2, settings(leak_safe=False)).report
    safe = make_splits(TASKS["sst2"], sst2, settings()).report
    assert leaky["overlap"]["share"] > 0.9
    assert safe["overlap"]["share"] == 0
    assert np.isclose(safe["sizes"]["test"], leaky["sizes"]["test"], rtol=0.1)


def test_a_group_of_an_official_test_part_leaves_train():
    task = TASKS["labels"]
    rows = Rows(
        parts={
            "train": [
                Example(f"a{i}", f"text number {i}", i // 10 % 2, f"author {i % 10}") for i in range(60)
            ],
            "test": [Example(f"b{i}", f"other words {i}", i % 2, f"author {i % 3}") for i in range(12)],
        },
        labels=("bad", "good"),
        source={},
        grouped=True,
    )
    splits = make_splits(task, rows, SplitSettings(kind="official", dev_share=0.3))
    held = {item.group for item in splits.test}
    assert held.isdisjoint(item.group for item in [*splits.train, *splits.dev])
    assert sum(n for why, n in splits.report["dropped"].items() if "same group" in why) == 18


def test_a_balanced_train_part_leaves_dev_and_test_as_they_are_and_counts_what_is_left_out():
    items = [Example(f"i{n}", f"text number {n}", int(n % 5 == 0), f"i{n}") for n in range(500)]
    rows = Rows({"all": items}, ("common", "rare"), {})
    plain = make_splits(TASK, rows, SplitSettings())
    balanced = make_splits(TASK, rows, SplitSettings(balance_train=True))
    assert balanced.report["labels"]["train"] == {"common": 72, "rare": 72}
    assert balanced.report["dropped"]["train: beyond balance_train"] == 288 - 72
    for part in ("dev", "test"):
        assert balanced.part(part) == plain.part(part)
    assert {item.id for item in balanced.train} <= {item.id for item in plain.train}
    again = make_splits(TASK, rows, SplitSettings(balance_train=True))
    assert again.train == balanced.train


def test_test_items_of_one_group_or_one_text_are_one_cluster():
    texts = {"a-1": "Fine.", "b-1": "fine", "b-2": "Good film", "c-1": "x + y", "c-2": "x - y"}
    test = [Example(name, text, i % 2, name[0]) for i, (name, text) in enumerate(texts.items())]
    train = [Example(f"t{i}", f"text number {i}", i % 2, f"t{i}") for i in range(20)]
    data = Rows({"train": train, "test": test}, ("neg", "pos"), {}, grouped=True)
    splits = make_splits(TASK, data, settings(kind="official", dev_share=0.2))
    clusters = {item.id: item.group for item in splits.test}
    assert clusters["a-1"] == clusters["b-1"] == clusters["b-2"] != clusters["c-1"] == clusters["c-2"]
    assert (splits.report["test_clusters"], splits.clustered) == (2, True)


def test_items_without_groups_are_clustered_by_equal_texts_alone():
    texts = ["one", "ONE!", "two", "three", "a :)", "a :("]
    test = [Example(f"x{i}", text, i % 2, f"x{i}") for i, text in enumerate(texts)]
    train = [Example(f"t{i}", f"text number {i}", i % 2, f"t{i}") for i in range(20)]
    data = Rows({"train": train, "test": test}, ("neg", "pos"), {})
    splits = make_splits(TASK, data, settings(kind="official", dev_share=0.2))
    assert (splits.report["test_clusters"], splits.clustered, splits.grouped) == (5, True, False)
    data = Rows({"train": train, "test": test[1:]}, ("neg", "pos"), {})
    assert not make_splits(TASK, data, settings(kind="official", dev_share=0.2)).clustered


def test_texts_of_one_template_stay_in_one_part_where_the_recipe_says_so():
    names = [
        " ".join(f"{word}{i}" for word in ("hello", "order", "parcel", "late", "bye")) for i in range(12)
    ]
    items = [
        Example(f"x{i}-{j}", f"{name} {i} {j}", i % 2, f"x{i}-{j}")
        for i, name in enumerate(names)
        for j in range(10)
    ]
    splits = make_splits(TASK, rows(items), settings(group_by="similarity"))
    of_part = {part: {item.id.split("-")[0] for item in splits.part(part)} for part in PARTS}
    assert not of_part["train"] & of_part["test"]
    assert not of_part["train"] & of_part["dev"]
    assert splits.report["test_clusters"] == len(of_part["test"])
    assert splits.report["lookalikes"]["items"] == 0
    assert make_splits(TASK, rows(items), settings()).report["lookalikes"]["share"] == 1.0


def test_texts_that_all_look_alike_are_refused_by_what_they_are():
    items = [Example(f"x{i}", f"the very same five words and {i}", i % 2, f"x{i}") for i in range(20)]
    with pytest.raises(DataError, match="all 20 items look alike, directly or by way of others"):
        make_splits(TASK, rows(items), settings(group_by="similarity"))


def test_groups_of_similar_texts_in_a_split_that_keeps_none_are_refused():
    with pytest.raises(RecipeError, match=r"split\.leak_safe: false keeps no group together"):
        make_splits(TASK, rows(many(20)), settings(group_by="similarity", leak_safe=False))


def test_more_texts_than_are_kept_normalised_give_the_same_splits(monkeypatch):
    items = [example(i, f"Text {i // 3}{'!' * (i % 3)}", i // 3 % 2) for i in range(300)]
    whole = make_splits(TASK, rows(items), settings())
    monkeypatch.setattr("tuneproof.data.splits._KEYS_IN_MEMORY", 5)
    assert make_splits(TASK, rows(items), settings()) == whole
    assert whole.report["test_clusters"] == len(whole.test) / 3  # equal texts are in one part


def test_the_last_train_item_with_the_text_of_a_held_out_one_is_named():
    overlap = find_same_texts(["A b", "c", "a B!"], ["ab", "d"], normalise_text)
    assert overlap.leaks_T.tolist() == [True, False, True]
    assert overlap.leaked_by_H.tolist() == [2, -1]
