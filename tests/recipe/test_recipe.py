"""A recipe: read, checked, filled in, printed back; every setting has a meaning and an effect."""

import ast
import re
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tuneproof.errors import RecipeError
from tuneproof.methods import METHODS
from tuneproof.recipe.recipe import SECTIONS, ModelChoice, Recipe, default_claim, read_recipe, recipe_from
from tuneproof.recipe.schema import recipe_schema
from tuneproof.settings import Claim, SplitSettings
from tuneproof.tasks import TASKS
from tuneproof.tasks.demo_task import DEMO_RECIPE

ROOT = Path(__file__).parents[1]
SOURCE = Path(__file__).parents[2] / "src" / "tuneproof"
RECIPES = [*sorted((ROOT / "recipes").glob("*.yaml")), DEMO_RECIPE]
SMALLEST = {
    "squad_v2": {"path": "squad"},
    "questions": {"path": "own.json"},
    "answers": {"path": "own.jsonl"},
    "sst2": {},
    "imdb": {},
    "demo": {},
    "labels": {"path": "reviews.csv"},
}
QUICK = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PARTS: list[type[BaseModel]] = [
    *SECTIONS.values(),
    Claim,
    ModelChoice,
    *(method.options for method in METHODS.values()),
    *(task.options for task in TASKS.values()),
]


def simple(**more: Any) -> dict[str, Any]:
    return {"task": "demo", "arms": ["majority"], **more}


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, "utf-8")
    return path


def round_trip(recipe: Recipe, folder: Path) -> None:
    """Both ways back: plain values, and a file."""
    assert recipe_from(recipe.values()) == recipe
    assert read_recipe(write(folder, recipe.text())) == recipe


# Round trips


@pytest.mark.parametrize("name", TASKS)
def test_every_task_reads_back_as_it_was_written(name, tmp_path):
    round_trip(recipe_from(simple(task={name: SMALLEST.get(name, {})})), tmp_path)


SPELT_AS = {"url": "http://127.0.0.1:1/v1", "delimiter": ",", "key_env": "MY_KEY"}


def required(name: str) -> dict[str, str]:
    """The options of a method that have no default."""
    fields = METHODS[name].options.model_fields
    return {key: SPELT_AS.get(key, "x") for key, field in fields.items() if field.is_required()}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_reads_back_as_it_was_written(name, tmp_path):
    round_trip(recipe_from(simple(models=["distilbert"], arms=[{name: required(name)}])), tmp_path)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_we_ship_is_valid_and_reads_back(path, tmp_path):
    round_trip(read_recipe(path), tmp_path)


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), min_size=1, max_size=20)


def value_of(kind: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    """Any value that a field of this type and these bounds allows."""
    bound = {type(one): one for one in metadata}
    if get_origin(kind) in (Union, UnionType):
        return st.one_of([value_of(inner, metadata) for inner in get_args(kind)])
    if get_origin(kind) is Annotated:
        inner, field = get_args(kind)
        return value_of(inner, field.metadata)
    if kind is NoneType:
        return st.none()
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is tuple:
        low = bound[MinLen].min_length if MinLen in bound else 0
        high = bound[MaxLen].max_length if MaxLen in bound else low + 3
        return st.lists(value_of(get_args(kind)[0], []), min_size=low, max_size=high)
    if kind is bool:
        return st.booleans()
    if kind is int:
        low = bound[Ge].ge if Ge in bound else -(2**40)
        return st.integers(low, bound[Le].le if Le in bound else 2**40)
    if kind is float:
        low = bound[Ge].ge if Ge in bound else bound[Gt].gt if Gt in bound else 0
        high = bound[Le].le if Le in bound else bound[Lt].lt if Lt in bound else 1e6
        open_low, open_high = Gt in bound, Lt in bound
        return st.floats(low, high, exclude_min=open_low, exclude_max=open_high)
    assert kind is str, kind
    return WORDS


AMOUNTS = st.builds("{}{}".format, st.integers(1, 999), st.sampled_from(["MB", "GiB"]))
SPELT = {  # settings with a spelling of their own
    "memory": st.none() | st.just("auto") | AMOUNTS,
    "disk": AMOUNTS,
    "layers": st.just("all") | st.builds("last {}".format, st.integers(1, 5)),
    "per_million_tokens": st.none() | st.just({"input": 0.1, "output": 2.0}),
    "arms": st.just({}) | st.just({"majority": {"per_thousand_items": 0.5}}),
    "body": st.just({}) | st.just({"top_k": 1}),
    "currency": st.sampled_from(["USD", "€"]),
    "class_weights": st.none() | st.just("balanced") | st.just({"a": 1.5, "b": 2.0}),
    "metric": st.sampled_from(["accuracy", "f1"]),
    "costs": st.just({"a": {"b": 3.0}}),
    "targets": st.sampled_from(["all-linear", "attention"])
    | st.lists(WORDS.filter(str.strip), min_size=1, max_size=3),
}


@st.composite
def values_of(draw: Any, part: type[BaseModel]) -> dict[str, Any]:
    """Some of a part's settings, each with any value that it allows."""
    names = draw(st.sets(st.sampled_from(list(part.model_fields))))
    fields = part.model_fields
    return {
        name: draw(SPELT[name] if name in SPELT else value_of(fields[name].annotation, fields[name].metadata))
        for name in sorted(names)
    }


@pytest.mark.parametrize("name", METHODS)
def test_any_options_of_a_method_read_back(name, tmp_path_factory):
    @QUICK
    @given(values_of(METHODS[name].options))
    def check(options: dict[str, Any]) -> None:
        if "then" in METHODS[name].options.model_fields:  # full refuses LoRA's settings
            options |= {"then": "lora"}
        if "protocol" in METHODS[name].options.model_fields:  # a chat has no likelihood
            options.pop("scoring", None)
        if options.get("learning_rate") == "auto":  # the Trainer is refused
            options.pop("engine", None)
        spelt = {key: SPELT_AS[key] for key in options if key in SPELT_AS and options[key] is not None}
        options = {**required(name), **options, **spelt}
        recipe = recipe_from(simple(models=["distilbert"], arms=[{name: options}]))
        round_trip(recipe, tmp_path_factory.getbasetemp())

    check()


@pytest.mark.parametrize("name", SECTIONS)
def test_any_settings_of_a_section_read_back(name, tmp_path_factory):
    @QUICK
    @given(values_of(SECTIONS[name]))
    def check(section: dict[str, Any]) -> None:
        if name == "prices":  # any other price needs that of this machine
            section["per_hour"] = section.get("per_hour") or 1.0
        if (
            name == "decision"
        ):  # a threshold has a metric, costs have a temperature, and one excludes the other
            rule = "threshold" if section.get("threshold") else "costs"
            used = {"threshold": ("threshold", "metric"), "costs": ("costs", "temperature")}[rule]
            section = {key: section[key] for key in used if rule in section and key in section}
        round_trip(recipe_from(simple(**{name: section})), tmp_path_factory.getbasetemp())

    check()


@QUICK
@given(
    st.fixed_dictionaries(
        {"path": WORDS, "text": WORDS, "label": WORDS},
        optional={
            "id": WORDS,
            "group": WORDS,
            "labels": st.lists(WORDS.filter(str.strip), min_size=2, max_size=4, unique=True),
            "instruction": WORDS,
            "template": WORDS.map(lambda words: words.replace("{", "") + "{text}"),
            "drop_empty": st.booleans(),
            "delimiter": WORDS,
        },
    ),
    WORDS,
)
def test_any_options_of_an_own_file_read_back(tmp_path_factory, options, out):
    recipe = recipe_from(simple(task={"labels": options}, out=out))
    round_trip(recipe, tmp_path_factory.getbasetemp())


# What words and numbers are


def test_2e_5_is_a_number_and_yes_is_a_word(tmp_path):
    text = (
        "task: {labels: {path: yes, text: no, label: on}}\nmodels: [distilbert]\n"
        "arms: [{full: {learning_rate: 2e-5, name: off}}]\n"
    )
    recipe = read_recipe(write(tmp_path, text))
    options: Any = recipe.task_options
    assert (options.path, options.text, options.label) == ("yes", "no", "on")
    assert recipe.arms[0].name == "off"
    assert getattr(recipe.arms[0].options, "learning_rate") == 2e-5  # noqa: B009


def test_a_date_and_a_time_are_words(tmp_path):
    text = "task: {labels: {path: 2024-01-31, text: 12:30:45}}\narms: [majority]\n"
    options: Any = read_recipe(write(tmp_path, text)).task_options
    assert (options.path, options.text) == ("2024-01-31", "12:30:45")


def test_a_number_in_a_words_place_is_refused_rather_than_changed(tmp_path):
    with pytest.raises(RecipeError, match=r"task\.labels\.text is 7; it should be text"):
        recipe_from(simple(task={"labels": {"path": "a.csv", "text": 7}}))


# Defaults


def test_everything_is_filled_in():
    values = recipe_from(simple(models=["distilbert"], arms=["lora"])).values()
    for name, section in SECTIONS.items():
        assert set(values[name]) == set(section.model_fields)
    assert set(values["arms"][0]["lora"]) == set(METHODS["lora"].options.model_fields)
    assert values["seeds"] == [0, 1, 2]
    assert values["split"]["dev_share"] == SplitSettings().dev_share


def test_the_folder_is_named_by_task_and_content():
    first, second = (recipe_from(simple(seeds=[seed])).out for seed in (0, 1))
    assert re.fullmatch(r"studies[/\\]demo-[0-9a-f]{8}", first)
    assert first != second
    assert recipe_from(simple(seeds=[0])).out == first


def test_without_a_claim_the_last_arm_is_set_against_the_strongest_cheap_one():
    def claims(*arms: str) -> list[tuple[str, str]]:
        made = recipe_from(simple(models=["distilbert"], arms=list(arms)))
        return [(claim.arm, claim.over) for claim in default_claim(made.arms, made.task)]

    assert claims("majority", "lexical", "few-shot", "lora") == [("lora", "lexical")]
    assert claims("majority", "zero-shot", "few-shot", "lora") == [("lora", "few-shot")]
    assert claims("head", "full") == [("full", "head")]
    assert claims("majority") == []


# --set


TEXT = """task: {labels: {path: old.csv}}
models: [distilbert]
arms:
  - majority
  - lora: {rank: 4}
  - full
split: {seed: 1}
train: {patience: 2}
"""


@pytest.mark.parametrize(
    ("change", "look", "found"),
    [
        ("arms.lora.rank=8", lambda r: r.arm("lora").options.rank, 8),
        ("arms.1.lora.rank=8", lambda r: r.arm("lora").options.rank, 8),
        ("arms.full.learning_rate=5e-5", lambda r: r.arm("full").options.learning_rate, 5e-5),
        ("arms=[majority, lexical]", lambda r: [arm.name for arm in r.arms], ["majority", "lexical"]),
        ("task.path=new.csv", lambda r: r.task_options.path, "new.csv"),
        ("task.labels.path=new.csv", lambda r: r.task_options.path, "new.csv"),
        ("task=demo", lambda r: r.task_name, "demo"),
        ("split.seed=7", lambda r: r.split.seed, 7),
        ("split.shares=[70, 10, 20]", lambda r: r.split.shares, (70, 10, 20)),
        ("train.epochs=1", lambda r: r.train.epochs, 1),
        ("train.patience=", lambda r: r.train.patience, None),
        ("models=[demo, bert]", lambda r: [m.id for m in r.models], ["demo", "bert"]),
        ("models.distilbert.name=small", lambda r: r.models[0].name, "small"),
        ("seeds=[3, 4]", lambda r: r.seeds, (3, 4)),
        ("out=elsewhere", lambda r: r.out, "elsewhere"),
        ("claim={arm: full, over: lora}", lambda r: r.claims[0].over, "lora"),
    ],
)
def test_set_changes_one_setting(change, look, found, tmp_path):
    plain = read_recipe(write(tmp_path, TEXT))
    changed = read_recipe(write(tmp_path, TEXT), [change])
    assert look(changed) == found
    assert changed != plain


def test_set_takes_a_bare_task_too(tmp_path):
    path = write(tmp_path, "task: sst2\narms: [majority]\n")
    options: Any = read_recipe(path, ["task.path=folder"]).task_options
    assert options.path == "folder"


# The schema


def fits(value: Any, schema: Any) -> bool:
    """The few words of JSON schema that ours uses."""
    if "anyOf" in schema:
        return any(fits(value, one) for one in schema["anyOf"])
    if "const" in schema:
        return bool(value == schema["const"])
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds = {
        "object": dict,
        "array": (list, tuple),
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
        "null": NoneType,
    }
    kind = schema.get("type")
    if kind and (not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        if not schema.get("additionalProperties", True) and set(value) - set(known):
            return False
        if set(schema.get("required", ())) - set(value):
            return False
        return all(fits(inner, known[key]) for key, inner in value.items() if key in known)
    if isinstance(value, (list, tuple)):
        sizes = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return sizes and all(fits(inner, schema.get("items", {})) for inner in value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and value > schema.get("exclusiveMinimum", value - 1)
            and value < schema.get("exclusiveMaximum", value + 1)
        )
    return True


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_schema_accepts_every_recipe_that_we_ship(path):
    from tuneproof.recipe.yaml import read_yaml

    assert fits(read_yaml(path).values, recipe_schema())
    assert fits(read_recipe(path).values(), recipe_schema())


@pytest.mark.parametrize(
    "bad",
    [
        {"task": "demo"},
        {"task": "demo", "arms": []},
        simple(seed=[0]),
        simple(arms=["lor"]),
        simple(arms=[{"lora": {"ranks": 3}}]),
        simple(arms=[{"lora": {"rank": 0}}]),
        simple(train={"epochs": "three"}),
        simple(train={"schedule": "linea"}),
        simple(task={"sst2": {"paths": "x"}}),
    ],
)
def test_the_schema_refuses_what_reading_refuses(bad):
    assert not fits(bad, recipe_schema())
    with pytest.raises(RecipeError):
        recipe_from(bad)


def test_the_schema_holds_no_reference_that_an_editor_could_not_follow():
    assert "$ref" not in str(recipe_schema())


# Every setting has a meaning and an effect


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_setting_says_what_it_means(part):
    for name, field in part.model_fields.items():
        assert field.description, f"{part.__name__}.{name}"
        assert field.description.endswith("."), f"{part.__name__}.{name}"


@cache
def read_names() -> set[str]:
    """Names that the package reads from any object, the settings' own classes left out."""
    own = {group.__name__ for part in PARTS for group in part.__mro__}
    found: set[str] = set()
    for file in SOURCE.rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        classes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name in own]
        inside = {id(inner) for node in classes for inner in ast.walk(node)}
        for node in ast.walk(tree):
            if id(node) in inside:
                continue
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.add(node.attr)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
                found.add(ast.unparse(node.args[1]))
    parts = ("train", "dev", "test")
    if "f'{name}_size'" in found:  # data/splits.py
        found |= {f"{name}_size" for name in parts}
    return {name.strip("'\"") for name in found}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_no_setting_is_dead(part):
    dead = set(part.model_fields) - read_names()
    assert not dead, f"nothing reads {sorted(dead)} of {part.__name__}"


def test_every_section_of_the_recipe_is_read():
    assert set(SECTIONS) <= read_names()


def test_a_finished_studys_recipe_with_settings_of_the_bootstrap_is_read() -> None:
    values = {
        "task": "demo",
        "arms": ["majority", "lexical"],
        "score": {"draws": 200, "seed": 1, "level": 0.9},
    }
    assert recipe_from(values).values()["score"] == {"level": 0.9, "power": 0.8}
