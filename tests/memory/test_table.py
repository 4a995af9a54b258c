"""What fits is what was predicted to fit: the search finds the largest number and never one too many."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneproof.errors import ModelError, RecipeError
from tuneproof.families import family_of
from tuneproof.families.models import resolve_model
from tuneproof.memory.estimate import Forecast, Peak, terms_of
from tuneproof.memory.simulate_step import Scene, Subject, play
from tuneproof.memory.table import Fit, fit, largest
from tuneproof.memory.text import fit_sentences, fit_table
from tuneproof.methods import METHODS
from tuneproof.parameters.count import configuration

CONFIGURATION = {
    "model_type": "llama",
    "vocab_size": 2000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "cache", "temporary")


def of(fixed: int, an_item: int, items: int, other: int = 0) -> Forecast:
    """Two moments: one grows by the item, another stands still."""
    growing = Peak(fixed, 0, 0, an_item * items, 0, 0, 0)
    still = Peak(fixed, 0, other, 0, 0, 0, 0)
    return Forecast(max(growing, still, key=lambda p: p.tensors_bytes), None, terms_of("cpu", 1, 64))


@settings(deadline=None, max_examples=200)
@given(
    st.integers(10**6, 10**10),
    st.integers(10**3, 10**9),
    st.integers(0, 10**10),
    st.integers(10**6, 3 * 10**10),
    st.sampled_from([1, 3, 16, 64]),
)
def test_the_largest_number_is_found_by_few_forecasts(fixed, an_item, other, size, batch) -> None:
    made = []

    def at(items):
        made.append(items)
        return of(fixed, an_item, items, other)

    found = largest(at, (batch, at(batch)), size, 1024)
    true = max((n for n in range(1, 1025) if of(fixed, an_item, n, other).total_bytes <= size), default=0)
    assert found <= true
    assert found == true or found in made
    assert len(made) <= 7
    if other == 0:
        assert found == true


def subject_of(tmp_path, method="lora", values=CONFIGURATION, **options) -> Subject:
    path = tmp_path / "small.json"
    path.write_text(json.dumps(values))
    source = resolve_model(path, weights=False)
    config, _, _ = configuration(source)
    found = METHODS[method]
    return Subject(source, config, family_of(config), found, found.options(**options))


@pytest.mark.parametrize("method", ["lora", "full", "head", "zero-shot"])
def test_the_answer_fits_when_it_is_played_and_one_more_item_does_not(method, tmp_path) -> None:
    subject = subject_of(tmp_path, method)
    file = tmp_path / "small.json"
    memory = 150_000_000
    found = fit(str(file), f"{memory}B", [method], [8], [128], device="cpu")
    cell = found.cells[0]
    for items, recompute in ((cell.largest, False), (cell.largest_recomputing, True)):
        if items is None or items == 1024:
            continue
        scene = Scene(
            length=128,
            predict_length=128,
            accumulates=items < 8,
            recompute=recompute,
            micro_batch=items,
            predict_batch=items,
        )
        assert items > 0
        assert play(subject, scene).total_bytes <= memory
        step = 8 if method == "zero-shot" else 1  # prompts of this length stand four to a pack
        more = Scene(**{**scene.__dict__, "micro_batch": items + step, "predict_batch": items + step})
        assert play(subject, more).total_bytes > memory


def test_a_table_over_methods_batches_and_lengths_is_one_call(tmp_path) -> None:
    subject_of(tmp_path)
    found = fit(str(tmp_path / "small.json"), "1GB", ["full", "head"], [2, 4], [16, 32])
    assert [(c.method, c.batch, c.length) for c in found.cells] == [
        (m, b, n) for m in ("full", "head") for n in (16, 32) for b in (2, 4)
    ]
    header, rows = fit_table(found)
    assert all(len(row) == len(header) for row in rows)
    assert len(rows) == 4 * 2 + 4
    values = json.loads(json.dumps(found.as_json()))
    assert values["cells"][0]["forecast"]["train"].keys() == set(PARTS)
    assert {c["fits"] for c in values["cells"]} == {True, False} or all(c["fits"] for c in values["cells"])


def test_more_items_longer_texts_and_more_weights_take_more(tmp_path) -> None:
    lora, full = subject_of(tmp_path, "lora"), subject_of(tmp_path, "full")
    base = play(lora, Scene(micro_batch=4, length=64)).train
    assert play(lora, Scene(micro_batch=8, length=64)).train.activations > 1.5 * base.activations
    assert play(lora, Scene(micro_batch=4, length=128)).train.activations > 1.5 * base.activations
    everything = play(full, Scene(micro_batch=4, length=64)).train
    assert everything.optimizer > 5 * base.optimizer
    assert everything.optimizer == pytest.approx(2 * 4 * 202_112, rel=0.01)


def test_recomputing_and_half_precision_take_less(tmp_path) -> None:
    lora = subject_of(tmp_path, "lora")
    scene = Scene(micro_batch=8, length=128)
    plain = play(lora, scene)
    recomputing = play(lora, Scene(micro_batch=8, length=128, recompute=True))
    half = play(lora, Scene(precision="bf16", micro_batch=8, length=128))
    assert recomputing.train.activations < 0.5 * plain.train.activations
    assert half.train.weights < 0.8 * plain.train.weights
    assert half.train.activations < 0.75 * plain.train.activations


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_below_the_last_layers_nothing_is_kept_for_the_backward_pass(method, recompute, tmp_path) -> None:
    deep = {**CONFIGURATION, "num_hidden_layers": 6}
    shallow = {**CONFIGURATION, "num_hidden_layers": 3}
    scene = Scene(micro_batch=8, length=128, recompute=recompute, predicts=False)
    last = play(subject_of(tmp_path, method, deep, layers="last 2"), scene).train
    same = play(subject_of(tmp_path, method, shallow, layers="last 2"), scene).train
    whole = play(subject_of(tmp_path, method, deep), scene).train
    assert last.activations == same.activations < whole.activations
    assert (last.gradients, last.optimizer) == (same.gradients, same.optimizer)
    assert last.optimizer < 0.5 * whole.optimizer
    assert last.weights > same.weights


def test_words_have_logits_at_the_answers_and_no_others(tmp_path) -> None:
    words = subject_of(tmp_path, "lora", objective="words")
    scene = Scene(micro_batch=8, length=128, predict_batch=8, predict_length=128)
    found = play(words, scene)
    everywhere = 8 * 128 * 2000 * 4
    assert 0 <= found.train.logits < everywhere / 8
    assert found.predict.logits < everywhere / 8


def test_packed_weights_count_by_their_bytes(tmp_path) -> None:
    scene = Scene(device="cuda", precision="bf16", micro_batch=2, length=32)
    lora = play(subject_of(tmp_path, "lora"), scene).train
    packed = play(subject_of(tmp_path, "qlora"), scene).train
    linear = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128)
    # half a byte and a scale's share instead of two, beside embeddings and norms in float32
    others = 2000 * 64 + 5 * 64
    assert packed.weights - lora.weights == pytest.approx(2 * others - 1.484 * linear, rel=0.02)


def test_what_nothing_fits_says_what_to_change_first(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tuneproof.memory.simulate_step.keeps_kernels", lambda: True)
    subject_of(tmp_path)
    name = str(tmp_path / "small.json")
    found = fit(name, "88.5MB", ["full"], [4], [64], device="cpu")
    assert not found.cells[0].fits
    assert found.cells[0].settings.startswith("nothing fits; first: ")
    nothing = fit(name, "1kB", ["full"], [4], [64], device="cpu")
    assert "the weights alone take" in nothing.cells[0].settings
    assert any("does not fit" in line for line in fit_sentences(nothing))


def test_a_cpus_kernels_are_counted_only_where_onednn_is_chosen(monkeypatch) -> None:
    for kept, counted in ((True, True), (False, False)):
        monkeypatch.setattr("tuneproof.memory.simulate_step.keeps_kernels", lambda kept=kept: kept)
        terms = Scene(device="cpu", lengths=4).terms
        assert (terms.fixed_bytes > 0) is counted
        assert ("oneDNN" in terms.sentence) is counted


def test_an_encoder_leaves_out_what_it_cannot_do_and_says_so() -> None:
    found = fit("minilm", "4GB", (), [2], [16])
    assert isinstance(found, Fit)
    assert [line.partition(":")[0] for line in found.left_out] == ["few-shot"]
    with pytest.raises(ModelError, match="takes no examples"):
        fit("minilm", "4GB", ["few-shot"], [2], [16])


def test_shots_come_on_top_of_the_length(tmp_path) -> None:
    subject_of(tmp_path)
    name = str(tmp_path / "small.json")
    one, eight = (
        fit(name, "1GB", ["few-shot"], [4], [128], changes=[f"few-shot.shots={n}"]).cells[0] for n in (1, 8)
    )
    assert eight.forecast.peak.cache > 3 * one.forecast.peak.cache
    with pytest.raises(RecipeError, match=r"40 shots and an item of 128 tokens each are 5,248"):
        fit(name, "1GB", ["few-shot"], [4], [128], changes=["few-shot.shots=40"])
