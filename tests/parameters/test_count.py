"""Counts from configurations alone: closed formulas per family, published figures, the arms' own ledgers.

The formulas know the configuration's numbers and nothing of the code that counts.
"""

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.arms.small import small_recipe
from tests.gemma3_270m import FOLDER as GEMMA
from tests.monitoring import run_recorded
from tests.open_model import SHARED
from tests.tiny_models import DECODERS, TYPES, tiny_model
from tuneproof.cli.main import main
from tuneproof.errors import ModelError
from tuneproof.families.models import MODELS
from tuneproof.families.published import CONFIGS
from tuneproof.models.checkpoint_files import make_config, read_config, read_tokenizer_with_notes
from tuneproof.models.load import load_model, model_on_meta, pretrained_on_meta
from tuneproof.parameters.architecture import GROUPS
from tuneproof.parameters.count import Count, count
from tuneproof.parameters.ledger import fresh_weight_names
from tuneproof.parameters.text import attention_line, parameter_lines
from tuneproof.tasks import TASKS

# Closed formulas: embeddings, attention, feed-forward, norms, head


def decoder(d, layers, heads, kv, hd, f, vocab, tied=True, norms=2, qkv_bias=0, qk_norms=0) -> dict[str, int]:
    """Llama's shape and its relatives: grouped queries, a gated feed-forward, RMS norms."""
    qkv = d * hd * (heads + 2 * kv) + qkv_bias * hd * (heads + 2 * kv)
    return {
        "embeddings": vocab * d,
        "attention": layers * (qkv + heads * hd * d),
        "feed-forward": layers * 3 * d * f,
        "norms": layers * (norms * d + qk_norms * 2 * hd) + d,
        "head": 0 if tied else vocab * d,
    }


def phi(d, layers, f, vocab) -> dict[str, int]:
    """Phi 1 and 2: biases everywhere, one norm per layer, attention and feed-forward side by side."""
    return {
        "embeddings": vocab * d,
        "attention": layers * 4 * (d * d + d),
        "feed-forward": layers * (d * f + f + f * d + d),
        "norms": layers * 2 * d + 2 * d,
        "head": vocab * d + vocab,
    }


def encoder(d, layers, f, vocab, positions, types, head) -> dict[str, int]:
    """BERT's shape: biases everywhere, two norms per layer and one on the embeddings."""
    return {
        "embeddings": (vocab + positions + types) * d,
        "attention": layers * 4 * (d * d + d),
        "feed-forward": layers * (d * f + f + f * d + d),
        "norms": layers * 2 * 2 * d + 2 * d,
        "head": head,
    }


def masked_words_head(d, vocab) -> int:
    """A square layer, a norm, and a bias per token; the matrix is that of the embeddings."""
    return d * d + d + 2 * d + vocab


def modernbert(d, layers, f, vocab=50368) -> dict[str, int]:
    """No biases but the head's, a gated feed-forward, no norm before the first layer's attention."""
    return {
        "embeddings": vocab * d,
        "attention": layers * 4 * d * d,
        "feed-forward": layers * 3 * d * f,
        "norms": (2 * layers + 1) * d,
        "head": d * d + d + vocab,
    }


def deberta(layers, d=768, f=3072, vocab=128100, buckets=256) -> dict[str, int]:
    """BERT's layers; a table of relative positions with a norm instead of positions and types."""
    head = masked_words_head(d, vocab)
    sums = encoder(d, layers, f, vocab, 2 * buckets, 0, head)
    return sums | {"norms": sums["norms"] + 2 * d}


ETTIN = {
    "17m": modernbert(256, 7, 384),
    "32m": modernbert(384, 10, 576),
    "68m": modernbert(512, 19, 768),
    "150m": modernbert(768, 22, 1152),
    "400m": modernbert(1024, 28, 2624),
}
GEMMA_3_270M = decoder(640, 18, 4, 1, 256, 2048, 262144, norms=4, qk_norms=1)
GEMMA_3_1B = decoder(1152, 26, 4, 1, 256, 6912, 262144, norms=4, qk_norms=1)
SHELF = {
    **{f"ettin-{kind}-{size}": sums for size, sums in ETTIN.items() for kind in ("encoder", "decoder")},
    "modernbert-base": modernbert(768, 22, 1152),
    "modernbert-large": modernbert(1024, 28, 2624),
    "deberta-v3-small": deberta(6),
    "deberta-v3-base": deberta(12),
    "roberta-base": encoder(768, 12, 3072, 50265, 514, 1, masked_words_head(768, 50265)),
    "smollm2-135m": decoder(576, 30, 9, 3, 64, 1536, 49152),
    "smollm2-360m": decoder(960, 32, 15, 5, 64, 2560, 49152),
    "qwen3-0.6b": decoder(1024, 28, 16, 8, 128, 3072, 151936, qk_norms=1),
    "qwen3-1.7b": decoder(2048, 28, 16, 8, 128, 6144, 151936, qk_norms=1),
    "gemma-3-270m": GEMMA_3_270M,
    "gemma-3-270m-it": GEMMA_3_270M,
    "gemma-3-1b": GEMMA_3_1B,
    "gemma-3-1b-it": GEMMA_3_1B,
    "llama-3.2-1b-instruct": decoder(2048, 16, 32, 8, 64, 8192, 128256),
    "llama-3.2-1b": decoder(2048, 16, 32, 8, 64, 8192, 128256),
    "gemma-2b": decoder(2048, 18, 8, 1, 256, 16384, 256000),
    "gemma-2-2b": decoder(2304, 26, 8, 4, 256, 9216, 256000, norms=4),
    "gemma-2-2b-it": decoder(2304, 26, 8, 4, 256, 9216, 256000, norms=4),
    "mistral-7b": decoder(4096, 32, 32, 8, 128, 14336, 32000, tied=False),
    "mistral-7b-instruct": decoder(4096, 32, 32, 8, 128, 14336, 32000, tied=False),
    "distilbert": encoder(768, 6, 3072, 30522, 512, 0, masked_words_head(768, 30522)),
    "bert": encoder(768, 12, 3072, 30522, 512, 2, masked_words_head(768, 30522)),
    "minilm": encoder(384, 6, 1536, 30522, 512, 2, 0) | {"other": 384 * 384 + 384},
    "demo": decoder(256, 4, 8, 2, 32, 640, 4096),
}
NOT_ON_SHELF = {  # configurations with the counts that their cards give
    "Qwen2.5-0.5B": (
        {
            "model_type": "qwen2",
            "hidden_size": 896,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "intermediate_size": 4864,
            "vocab_size": 151936,
            "max_position_embeddings": 32768,
            "sliding_window": 32768,
            "use_sliding_window": False,
            "tie_word_embeddings": True,
            "architectures": ["Qwen2ForCausalLM"],
        },
        decoder(896, 24, 14, 2, 64, 4864, 151936, qkv_bias=1),
        494_032_768,
        "auto",
    ),
    "Qwen3-0.6B": (
        {
            "model_type": "qwen3",
            "hidden_size": 1024,
            "num_hidden_layers": 28,
            "head_dim": 128,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "intermediate_size": 3072,
            "vocab_size": 151936,
            "max_position_embeddings": 40960,
            "tie_word_embeddings": True,
        },
        decoder(1024, 28, 16, 8, 128, 3072, 151936, qk_norms=1),
        596_049_920,
        "qwen",
    ),
    "phi-2": (
        {
            "model_type": "phi",
            "hidden_size": 2560,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "intermediate_size": 10240,
            "vocab_size": 51200,
            "max_position_embeddings": 2048,
            "partial_rotary_factor": 0.4,
            "tie_word_embeddings": False,
            "architectures": ["PhiForCausalLM"],
        },
        phi(2560, 32, 10240, 51200),
        2_779_683_840,
        "auto",
    ),
    "Phi-3-mini-4k": (
        {
            "model_type": "phi3",
            "hidden_size": 3072,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "intermediate_size": 8192,
            "vocab_size": 32064,
            "max_position_embeddings": 4096,
            "sliding_window": 2047,
            "tie_word_embeddings": False,
            "pad_token_id": 32000,
            "auto_map": {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"},
        },
        decoder(3072, 32, 32, 32, 96, 8192, 32064, tied=False),
        3_821_079_552,
        "auto",
    ),
    "SmolLM2-135M": (
        {
            "model_type": "llama",
            "hidden_size": 576,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "intermediate_size": 1536,
            "vocab_size": 49152,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
        },
        decoder(576, 30, 9, 3, 64, 1536, 49152),
        134_515_008,
        "llama",
    ),
    "SmolLM3-3B": (
        {
            "model_type": "smollm3",
            "hidden_size": 2048,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 4,
            "intermediate_size": 11008,
            "vocab_size": 128256,
            "max_position_embeddings": 65536,
            "tie_word_embeddings": True,
            "pad_token_id": 128004,
        },
        decoder(2048, 36, 16, 4, 128, 11008, 128256),
        3_075_098_624,
        "auto",
    ),
}


def config_file(folder: Path, values: dict, name: str = "model") -> str:
    (folder / name).mkdir(exist_ok=True)
    path = folder / name / "config.json"
    path.write_text(json.dumps(values))
    return str(path)


def lines_of(result: Count) -> dict[str, int]:
    assert result.adaptation is not None
    return {line.part: line.count for line in result.adaptation.ledger.lines}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Counting never queries the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *args, **kwargs: pytest.fail("the hub was queried")
    )


# The base


def test_every_model_of_the_shelf_has_a_formula_here():
    assert set(SHELF) == set(MODELS)


@pytest.mark.parametrize("name", SHELF)
def test_a_model_of_the_shelf_has_the_groups_of_its_closed_formula(name):
    result = count(name)
    assert result.groups == dict.fromkeys(GROUPS, 0) | SHELF[name]
    assert result.total == sum(SHELF[name].values())


@pytest.mark.parametrize("name", NOT_ON_SHELF)
def test_a_local_configuration_that_the_shelf_does_not_know_is_counted_too(name, tmp_path):
    values, formula, published, family = NOT_ON_SHELF[name]
    result = count(config_file(tmp_path, values, name))
    assert result.groups == dict.fromkeys(GROUPS, 0) | formula
    assert result.total == published
    assert (result.model, result.architecture.family) == (name, family)
    assert result.published is None
    assert count(str(tmp_path / name)).groups == result.groups, "the folder gives the same"


def test_published_counts_agree_or_the_difference_is_explained():
    counts = {name: count(name) for name, entry in MODELS.items() if entry.published}
    different = {name: result for name, result in counts.items() if result.agrees is False}
    assert {name for name, result in counts.items() if result.agrees is None} == {"minilm"}
    assert {name: result.published.count - result.total for name, result in different.items()} == {
        "gemma-2b": 128 * 2048,
        "bert": 590_592 + 1_538,
    }
    assert all(result.published.differs for result in different.values())


PUBLISHED = {  # as model cards, papers and other projects give them; without the head where `base` says so
    "distilbert": 66_985_530,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-1b-instruct": 1_235_814_400,
    "gemma-2-2b": 2_614_341_888,
    "gemma-2-2b-it": 2_614_341_888,
    "gemma-3-270m": 268_098_176,
    "gemma-3-270m-it": 268_098_176,
    "gemma-3-1b": 999_885_952,
    "gemma-3-1b-it": 999_885_952,
    "mistral-7b": 7_241_732_096,
    "mistral-7b-instruct": 7_241_732_096,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "roberta-base": 124_697_433,
    "modernbert-base": 149_655_232,
    "modernbert-large": 395_881_664,
}
WITHOUT_HEAD = {
    "deberta-v3-small": 141_304_320,
    "deberta-v3-base": 183_831_552,
    "ettin-encoder-17m": 16_797_440,
    "ettin-encoder-32m": 31_883_136,
    "ettin-encoder-68m": 68_144_640,
    "ettin-encoder-150m": 149_014_272,
    "ettin-encoder-400m": 394_781_696,
}


@pytest.mark.parametrize("name", [*PUBLISHED, *WITHOUT_HEAD])
def test_a_count_is_the_published_one(name):
    result = count(name)
    head = result.groups["head"] if name in WITHOUT_HEAD else 0
    published = {**PUBLISHED, **WITHOUT_HEAD}[name]
    assert result.total - head == published
    assert result.published.count == published
    assert result.agrees


@pytest.mark.parametrize("size", ["17m", "32m", "68m", "150m", "400m"])
def test_a_rounded_published_count_is_compared_to_its_digits(size):
    result = count(f"ettin-decoder-{size}")
    assert result.published.count == int(size[:-1]) * 1_000_000
    assert result.agrees
    assert not replace(result, total=2 * result.total).agrees
    line = (
        f"Published: {result.published.count:,} to 2 digits (Weller et al. 2025, arXiv:2507.11412), the same."
    )
    assert parameter_lines(result)[-1] == line


@pytest.mark.skipif(not GEMMA.is_dir(), reason=f"Gemma-3-270M is not in {GEMMA}")
def test_the_catalog_describes_gemma_3_as_its_own_file_does():
    own = make_config(json.loads((GEMMA / "config.json").read_text("utf-8")), "own").to_dict()
    ours = make_config(CONFIGS["gemma-3-270m"].values, "ours").to_dict()
    different = {key for key in own if own[key] != ours.get(key)}
    assert different <= {"_model_name_or_path", "unk_token_id", "rms_norm_eps"}
    assert ours["rms_norm_eps"] == pytest.approx(own["rms_norm_eps"])


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.2-1B", "google/gemma-2-2b"])
def test_a_hub_id_of_the_shelf_needs_no_hub(name):
    assert count(name).published is not None


def test_a_model_without_weights_is_enough(tmp_path):
    folder = tiny_model(tmp_path / "llama", "llama")
    before = count(str(folder)).as_json()
    (folder / "model.safetensors").write_bytes(b"not weights: never opened")
    assert count(str(folder)).as_json() == before
    (folder / "model.safetensors").unlink()
    assert count(str(folder)).as_json() == before


# The architecture


def test_the_architecture_of_gemma_2_alternates():
    result = count("gemma-2-2b").architecture
    assert result.attention == ("sliding", "full") * 13
    assert (result.sliding_window, result.context_length, result.tied_embeddings) == (4096, 8192, True)
    assert (result.hidden_size, result.num_layers, result.num_heads) == (2304, 26, 8)
    assert (result.num_key_value_heads, result.head_dim, result.intermediate_size) == (4, 256, 9216)
    assert result.vocab_size == 256000


@pytest.mark.parametrize(
    ("name", "attention", "window"),
    [
        ("gemma-3-270m", (("sliding",) * 5 + ("full",)) * 3, 512),
        ("modernbert-base", ("full", "sliding", "sliding") * 7 + ("full",), 128),
        ("ettin-decoder-17m", ("full", "sliding", "sliding") * 2 + ("full",), 64),
        ("qwen3-0.6b", ("full",) * 28, None),
        ("mistral-7b", ("sliding",) * 32, 4096),
        ("mistral-7b-instruct", ("full",) * 32, None),
        ("llama-3.2-1b", ("full",) * 16, None),
        ("distilbert", ("full",) * 6, None),
    ],
)
def test_the_window_is_that_of_the_configuration(name, attention, window):
    result = count(name).architecture
    assert (result.attention, result.sliding_window) == (attention, window)


def test_a_window_that_is_switched_off_is_none(tmp_path):
    result = count(config_file(tmp_path, NOT_ON_SHELF["Qwen2.5-0.5B"][0])).architecture
    assert (set(result.attention), result.sliding_window) == ({"full"}, None)


@pytest.mark.parametrize(
    ("kinds", "line"),
    [
        (("full",) * 3, "full in all 3 layers"),
        (
            ("sliding", "full") * 3,
            "sliding in 3, full in 3 of 6 layers: 1 sliding, 1 full, 1 sliding, 1 full, …",
        ),
        (("sliding",) * 5 + ("full",), "sliding in 5, full in 1 of 6 layers: 5 sliding, 1 full"),
        ((), "none"),
    ],
)
def test_one_line_names_the_kinds_of_the_layers(kinds, line):
    assert attention_line(kinds) == line


# The adaptation

TABLE = {
    "llama-3.2-1b": (1_235_814_400, 1_235_818_496, 1_235_818_498),
    "gemma-2-2b": (2_614_341_888, 2_614_346_496, None),
    "mistral-7b": (7_241_732_096, 7_110_668_288, 7_110_668_290),
    "distilbert": (66_985_530, 66_955_010, 66_364_418),
}
ROWS = {
    "Llama-3.2-1B (tied)": "llama-3.2-1b",
    "Gemma-2-2B (tied)": "gemma-2-2b",
    "Mistral-7B (untied)": "mistral-7b",
    "DistilBERT (masked LM)": "distilbert",
}
DELTAS = {
    ("llama-3.2-1b", "labels:2"): {"head": 2 * 2048},
    ("llama-3.2-1b", "span"): {"head": 2 * 2048 + 2},
    ("gemma-2-2b", "labels:2"): {"head": 2 * 2304},
    ("mistral-7b", "labels:2"): {"dropped": -32000 * 4096, "head": 2 * 4096},
    ("mistral-7b", "span"): {"dropped": -32000 * 4096, "head": 2 * 4096 + 2},
    ("distilbert", "labels:2"): {
        "dropped": -masked_words_head(768, 30522),
        "head": 768 * 768 + 768 + 2 * 768 + 2,
    },
    ("distilbert", "span"): {"dropped": -masked_words_head(768, 30522), "head": 2 * 768 + 2},
}


def test_the_table_here_is_the_one_of_the_real_models():
    if not (SHARED / "README.md").is_file():
        pytest.skip("no ../shared/README.md")
    text = (SHARED / "README.md").read_text("utf-8")
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and cells[0] in ROWS:
            numbers = [re.match(r"[\d,]+", cell) for cell in cells[1:]]
            rows[ROWS[cells[0]]] = tuple(n and int(n[0].replace(",", "")) for n in numbers)
    assert rows == TABLE
    assert "| 5,636,096 trainable |" in text


@pytest.mark.parametrize(("name", "head"), DELTAS)
def test_every_figure_of_the_table_and_every_delta(name, head):
    result = count(name, head=head)
    base, classes, span = TABLE[name]
    assert result.adaptation is not None
    ledger = result.adaptation.ledger
    assert (ledger.base, ledger.total) == (base, classes if head == "labels:2" else span)
    assert lines_of(result) == DELTAS[name, head]
    assert ledger.base + sum(line.count for line in ledger.lines) == ledger.total
    assert all(line.reason for line in ledger.lines)


def test_gemma_2_has_no_span_class():
    with pytest.raises(ModelError, match=r"it has no span head: transformers .* gemma2"):
        count("gemma-2-2b", head="span")


def test_lora_of_rank_8_on_llama_trains_5_636_096():
    result = count("llama-3.2-1b", "lora", ["lora.rank=8"])
    assert result.adaptation is not None
    per_layer = 2 * (2048 + 2048) + 2 * (2048 + 512) + 3 * (2048 + 8192)
    assert result.adaptation.ledger.trainable == 16 * 8 * per_layer == 5_636_096
    assert lines_of(result) == {"adapters": 5_636_096}
    with_head = count("llama-3.2-1b", "lora", ["lora.rank=8"], task="sst2")
    assert with_head.adaptation is not None
    assert with_head.adaptation.ledger.trainable == 5_636_096 + 4_096


@pytest.mark.parametrize("name", ["llama-3.2-1b", "mistral-7b", "distilbert", "bert", "minilm"])
def test_a_frozen_base_with_a_head_trains_the_head_alone(name):
    result = count(name, "head", task="sst2")
    width, encoder = result.architecture.hidden_size, result.architecture.kind == "encoder"
    assert result.adaptation is not None
    assert width is not None
    assert result.adaptation.ledger.trainable == 2 * (width + encoder)
    assert lines_of(result)["head"] == 2 * (width + encoder)
    trunk = sum(size for group, size in result.groups.items() if group not in ("head", "other"))
    assert result.adaptation.ledger.total == trunk + 2 * (width + encoder)


def test_a_tied_head_is_not_dropped_and_a_note_explains_it():
    assert "dropped" not in lines_of(count("llama-3.2-1b", task="sst2"))
    assert any("tied" in note for note in count("llama-3.2-1b", task="sst2").notes)
    assert not any("tied" in note for note in count("mistral-7b", task="sst2").notes)


@pytest.mark.parametrize(("name", "row"), [("llama-3.2-1b", "2,048"), ("mistral-7b", "8,192")])
def test_no_row_is_added_for_padding_and_a_note_names_its_size(name, row):
    result = count(name, task="sst2")
    assert any(f"A new [PAD] would have added {row}." in note for note in result.notes)


def test_without_a_method_the_trained_number_is_null():
    values = count("llama-3.2-1b", task="sst2").as_json()
    assert values["adaptation"]["ledger"]["trainable"] is None
    assert count("llama-3.2-1b").as_json()["adaptation"] is None


def test_four_bits_change_no_count():
    plain, quantized = (count("mistral-7b", name, task="sst2") for name in ("lora", "qlora"))
    assert plain.adaptation is not None
    assert quantized.adaptation is not None
    expected, ledger = plain.adaptation.ledger, quantized.adaptation.ledger
    assert (expected.base, expected.total, expected.trainable) == (
        ledger.base,
        ledger.total,
        ledger.trainable,
    )
    (line,) = [line for line in ledger.lines if line.part == "quantised to 4 bits"]
    assert line.count == 0
    weights = SHELF["mistral-7b"]["attention"] + SHELF["mistral-7b"]["feed-forward"]
    size = weights // 2 + weights // 64 + weights // 64 // 256 * 4 + 32 * 7 * 4
    assert f"{weights:,} weights in {size:,} bytes" in line.reason
    assert f"{2 * weights:,}" in line.reason


def test_the_head_follows_from_the_kind_of_the_task(monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setitem(TASKS, "questions", SimpleNamespace(kind="questions", labels=None))  # type: ignore[misc]
    result = count("distilbert", "lora", task="questions").adaptation
    assert result is not None
    assert (result.head.kind, result.head.outputs) == ("span", 2)
    assert count("distilbert", "lora", task="imdb").adaptation.head.outputs == 2  # type: ignore[union-attr]


def test_a_task_can_be_answered_in_words():
    result = count("llama-3.2-1b", "lora", ["lora.objective=words"], task="sst2").adaptation
    assert result is not None
    assert (result.head.kind, result.head.outputs, result.head.task) == ("words", 0, "sst2")
    assert [line.part for line in result.ledger.lines] == ["adapters"]


# The same as an arm's


@pytest.mark.parametrize("kind", TYPES)
def test_fresh_weights_are_named_before_loading(kind, tmp_path):
    from tuneproof.families import family_of
    from tuneproof.families.models import resolve_model

    source = resolve_model(tiny_model(tmp_path / kind, kind))
    config = read_config(source)
    family = family_of(config)
    tokenizer = read_tokenizer_with_notes(source, config, family)[0]
    loaded = load_model(source, config, tokenizer, family, head="labels", labels=("a", "b"))
    model = model_on_meta(source, config, head="labels", labels=("a", "b"))
    ahead = fresh_weight_names(model, pretrained_on_meta(source, config))
    assert set(ahead) == set(loaded.fresh)
    shapes = {name: tuple(p.shape) for name, p in loaded.model.named_parameters()}
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == shapes


ARMS = {
    "head": [],
    "lora": ["lora.rank=2"],
    "lp-ft": [],
    "full": [],
    "dora": ["lora.rank=4", "lora.variant=dora"],
    "words": ["lora.rank=2", "lora.objective=words"],
    "quantised": ["qlora.rank=2"],
    "upper-full": ["full.layers=last 1"],
    "upper-lora": ["lora.rank=2", "lora.layers=last 1"],
}


@pytest.mark.parametrize(
    "kind",
    ["bert", "llama", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("mistral", "modernbert"))],
)
def test_the_ledger_of_a_run_is_the_one_that_was_counted_ahead(kind, tmp_path):
    folder = tiny_model(tmp_path / kind, kind)
    arms = []
    for name, changes in ARMS.items():
        method = changes[0].split(".")[0] if changes else name
        if (name == "words" and kind not in DECODERS) or (
            name == "quantised" and importlib.util.find_spec("bitsandbytes") is None
        ):
            continue
        options = dict(change.split(".", 1)[1].split("=") for change in changes)
        arms.append({method: {"name": name, **{k: _value(v) for k, v in options.items()}}})
    recipe = small_recipe(tmp_path, [folder], arms, train={"epochs": 1, "batch_size": 36})
    run_recorded(recipe)
    for arm in arms:
        method, options = next(iter(arm.items()))
        (arm_folder,) = (Path(recipe.out) / "arms").glob(f"*.{options['name']}*")
        run = json.loads((arm_folder / "ledger.json").read_text())
        changes = ARMS[options["name"]]
        ahead = count(
            str(folder), method, changes, head="words" if options["name"] == "words" else "labels:2"
        )
        assert ahead.adaptation is not None
        expected = json.loads(json.dumps(ahead.adaptation.ledger.as_json()))
        assert {key: run[key] for key in expected} == expected, options["name"]


def _value(text: str) -> object:
    return int(text) if text.isdigit() else text


# Terminal output


def test_the_command_prints_plain_lines_when_piped(capsys):
    assert main(["count", "llama-3.2-1b", "--method", "lora", "--set", "lora.rank=8", "--task", "sst2"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert "\x1b" not in output.out
    for line in (
        "  key-value heads      8",
        "  attention            full in all 16 layers",
        "  1,235,814,400  total (LlamaForCausalLM)",
        "Adaptation: lora (rank 8) with a head of 2 labels (task sst2)",
        "         +4,096  head: score.weight 2 × 2,048: not in the checkpoint",
        "     +5,636,096  adapters: rank 8 beside 112 linear layers: 8 × (in + out) each",
        "  1,241,454,592  total",
        "      5,640,192  trainable (0.45 %)",
    ):
        assert line in output.out.splitlines()


def test_all_weights_are_a_hundred_percent(capsys):
    assert main(["count", "mistral-7b", "--method", "full", "--task", "sst2"]) == 0
    assert "  7,110,668,288  trainable (100 %)" in capsys.readouterr().out


def test_where_most_weights_are_embeddings_the_share_of_the_others_is_told_too(capsys):
    per_layer = 2 * (640 + 1024) + 2 * (640 + 256) + 3 * (640 + 2048)
    trained, embeddings = 18 * 8 * per_layer + 2 * 640, 262144 * 640
    total = 268_098_176 + trained
    arguments = ["count", "gemma-3-270m", "--method", "lora", "--set", "lora.rank=8", "--task", "sst2"]
    assert main(arguments) == 0
    line = f"{trained:,}  trainable (0.7 % of all, 1.9 % of the weights other than embeddings)"
    assert line in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    ledger = json.loads(capsys.readouterr().out)["adaptation"]["ledger"]
    assert (ledger["embeddings"], ledger["trainable_embeddings"]) == (embeddings, 0)
    assert ledger["trainable_share_of_others"] == pytest.approx(trained / (total - embeddings))
    full = count("gemma-3-270m", "full", task="sst2").adaptation.ledger
    assert (full.trainable_embeddings, full.trainable_share_of_others) == (embeddings, 1)
    assert count("llama-3.2-1b", "lora", task="sst2").adaptation.ledger.trainable_share_of_others is None


def test_the_json_says_the_same(capsys):
    assert main(["count", "gemma-2-2b", "--task", "sst2", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["total"] == sum(values["groups"].values()) == 2_614_341_888
    assert values["published"]["agrees"] is True
    assert values["architecture"]["attention"][:2] == ["sliding", "full"]
    assert values["adaptation"]["ledger"]["total"] == 2_614_346_496


def test_code_that_a_configuration_names_is_ignored_with_a_note(tmp_path, capsys):
    assert main(["count", config_file(tmp_path, NOT_ON_SHELF["Phi-3-mini-4k"][0])]) == 0
    output = capsys.readouterr().out
    assert "auto_map in its configuration can name code of the checkpoint: ignored, never run." in output
    assert "3,821,079,552  total (Phi3ForCausalLM)" in output
    assert "transformers_modules" not in output


def test_a_note_names_a_class_that_transformers_does_not_have(tmp_path):
    values = NOT_ON_SHELF["Qwen3-0.6B"][0] | {"architectures": ["OwnForCausalLM"]}
    result = count(config_file(tmp_path, values))
    assert result.architecture_class == "Qwen3ForCausalLM"
    assert any("OwnForCausalLM" in note for note in result.notes)
