"""The published configurations of the catalog's models, and the parameter counts that others published.

In: nothing. Out: what each model's config.json says on the hub, at the revision in the catalog.
Knows nothing of: files, weights, how a parameter is counted.

The configurations of gated models need consent to download; their content is public knowledge, in the
papers and in many projects. With them a model can be counted before anything is downloaded.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PublishedCount:
    """A published parameter count. `differs`: why the architecture's own count is another one.

    without_head: it leaves out the language-model head. digits: it is rounded to so many (None: exact).
    """

    count: int
    source: str
    differs: str = ""
    without_head: bool = False
    digits: int | None = None

    @property
    def scope(self) -> str:
        """What the count leaves out, to follow its number."""
        rounded = "" if self.digits is None else f" to {self.digits} digits"
        return f"{' without the head' if self.without_head else ''}{rounded}"

    def difference(self, total: int, head: int) -> int:
        """It minus an architecture's `total` weights, `head` of them above the base; 0: the same."""
        size = total - head if self.without_head else total
        return self.count - (size if self.digits is None else int(float(f"{size:.{self.digits}g}")))


@dataclass(frozen=True)
class PublishedConfig:
    """What a model's config.json says. `unnamed_modules`: the checkpoint has them, the file does not."""

    values: Mapping[str, Any]
    parameters: PublishedCount | None = None
    unnamed_modules: tuple[str, ...] = ()


LLAMA_3_2 = json.loads("""{
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 128256,
    "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 64, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0, "rope_scaling": {"factor": 32.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    "tie_word_embeddings": true, "bos_token_id": 128000, "eos_token_id": 128001, "torch_dtype": "bfloat16"
}""")
GEMMA = json.loads("""{
    "architectures": ["GemmaForCausalLM"], "model_type": "gemma", "vocab_size": 256000,
    "hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 18, "num_attention_heads": 8,
    "num_key_value_heads": 1, "head_dim": 256, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0, "tie_word_embeddings": true, "bos_token_id": 2, "eos_token_id": 1,
    "pad_token_id": 0, "torch_dtype": "bfloat16"
}""")
GEMMA_2 = GEMMA | json.loads("""{
    "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "hidden_size": 2304,
    "intermediate_size": 9216, "num_hidden_layers": 26, "num_key_value_heads": 4, "sliding_window": 4096,
    "query_pre_attn_scalar": 256, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0
}""")
MISTRAL = json.loads("""{
    "architectures": ["MistralForCausalLM"], "model_type": "mistral", "vocab_size": 32000,
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "max_position_embeddings": 32768, "rms_norm_eps": 1e-5,
    "sliding_window": 4096, "rope_theta": 10000.0, "tie_word_embeddings": false, "bos_token_id": 1,
    "eos_token_id": 2, "torch_dtype": "bfloat16"
}""")
GEMMA_3 = json.loads("""{
    "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "vocab_size": 262144,
    "hidden_size": 640, "intermediate_size": 2048, "num_hidden_layers": 18, "num_attention_heads": 4,
    "num_key_value_heads": 1, "head_dim": 256, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window": 512,
    "sliding_window_pattern": 6, "query_pre_attn_scalar": 256, "tie_word_embeddings": true,
    "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "torch_dtype": "bfloat16"
}""")
QWEN_3 = json.loads("""{
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 151936,
    "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
    "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6,
    "rope_theta": 1000000, "use_sliding_window": false, "tie_word_embeddings": true,
    "bos_token_id": 151643, "eos_token_id": 151645, "torch_dtype": "bfloat16"
}""")
SMOLLM_2 = json.loads("""{
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 49152,
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000,
    "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 0, "torch_dtype": "bfloat16"
}""")
DISTILBERT = json.loads("""{
    "architectures": ["DistilBertForMaskedLM"], "model_type": "distilbert", "vocab_size": 30522,
    "dim": 768, "hidden_dim": 3072, "n_layers": 6, "n_heads": 12, "max_position_embeddings": 512,
    "pad_token_id": 0, "sinusoidal_pos_embds": false
}""")
BERT = json.loads("""{
    "architectures": ["BertForMaskedLM"], "model_type": "bert", "vocab_size": 30522, "hidden_size": 768,
    "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "max_position_embeddings": 512, "type_vocab_size": 2, "pad_token_id": 0
}""")
MINILM = BERT | json.loads("""{
    "architectures": ["BertModel"], "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6
}""")


ROBERTA = BERT | json.loads("""{
    "architectures": ["RobertaForMaskedLM"], "model_type": "roberta", "vocab_size": 50265,
    "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "bos_token_id": 0,
    "pad_token_id": 1, "eos_token_id": 2
}""")
DEBERTA_V3 = json.loads("""{
    "model_type": "deberta-v2", "vocab_size": 128100, "hidden_size": 768, "intermediate_size": 3072,
    "num_hidden_layers": 12, "num_attention_heads": 12, "max_position_embeddings": 512,
    "relative_attention": true, "position_buckets": 256, "norm_rel_ebd": "layer_norm",
    "share_att_key": true, "pos_att_type": "p2c|c2p", "max_relative_positions": -1,
    "position_biased_input": false, "layer_norm_eps": 1e-7, "type_vocab_size": 0
}""")
MODERNBERT = json.loads("""{
    "architectures": ["ModernBertForMaskedLM"], "model_type": "modernbert", "vocab_size": 50368,
    "hidden_size": 768, "intermediate_size": 1152, "num_hidden_layers": 22, "num_attention_heads": 12,
    "max_position_embeddings": 8192, "norm_eps": 1e-5, "global_attn_every_n_layers": 3,
    "local_attention": 128, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0,
    "bos_token_id": 50281, "eos_token_id": 50282, "cls_token_id": 50281, "sep_token_id": 50282,
    "pad_token_id": 50283
}""")
# Their rotary bases differ by size and do not change a count: left to the class.
ETTIN_ENCODER = {name: value for name, value in MODERNBERT.items() if "rope" not in name}
ETTIN_ENCODER |= {"max_position_embeddings": 7999}
ETTIN_DECODER = ETTIN_ENCODER | {
    "architectures": ["ModernBertDecoderForCausalLM"],
    "model_type": "modernbert-decoder",
}
SIZES_OF_ETTIN = {  # widths of the layers and the feed-forward, layers, heads, the encoder without its head
    "17m": (256, 384, 7, 4, 16_797_440),
    "32m": (384, 576, 10, 6, 31_883_136),
    "68m": (512, 768, 19, 8, 68_144_640),
    "150m": (768, 1152, 22, 12, 149_014_272),
    "400m": (1024, 2624, 28, 16, 394_781_696),
}


def _tensors(name: str, count: int, differs: str = "") -> PublishedCount:
    source = f"the sizes of the tensors at https://huggingface.co/{name}"
    return PublishedCount(count, source, differs)


def _keras(family: str, count: int, without_head: bool = False) -> PublishedCount:
    return PublishedCount(count, f"keras-hub, {family}_presets.py", without_head=without_head)


def _sizes(width: int, feed_forward: int, layers: int, heads: int) -> dict[str, int]:
    sizes = {"hidden_size": width, "intermediate_size": feed_forward}
    return {**sizes, "num_hidden_layers": layers, "num_attention_heads": heads}


def _ettin() -> dict[str, PublishedConfig]:
    """Weller et al. 2025, arXiv:2507.11412; sizes: github.com/JHU-CLSP/ettin-encoder-vs-decoder."""
    configs = {}
    for size, (*sizes, encoder) in SIZES_OF_ETTIN.items():
        source = (
            f"mteb's entry of cross-encoder/ettin-reranker-{size}-v1, which is this encoder with another head"
        )
        exact = PublishedCount(encoder, source, without_head=True)
        rounded = PublishedCount(int(size[:-1]) * 10**6, "Weller et al. 2025, arXiv:2507.11412", digits=2)
        configs[f"ettin-encoder-{size}"] = PublishedConfig(ETTIN_ENCODER | _sizes(*sizes), exact)
        configs[f"ettin-decoder-{size}"] = PublishedConfig(ETTIN_DECODER | _sizes(*sizes), rounded)
    return configs


GEMMA_2_2B = PublishedConfig(
    GEMMA_2, PublishedCount(589_824_000 + 2_024_517_888, "Gemma team 2024, arXiv:2408.00118, table 2")
)
GEMMA_3_270M = PublishedConfig(GEMMA_3, _tensors("google/gemma-3-270m", 268_098_176))
GEMMA_3_1B = PublishedConfig(
    GEMMA_3 | _sizes(1152, 6912, 26, 4), _tensors("google/gemma-3-1b-pt", 999_885_952)
)
CONFIGS = {
    "distilbert": PublishedConfig(DISTILBERT, _tensors("distilbert/distilbert-base-uncased", 66_985_530)),
    "bert": PublishedConfig(
        BERT,
        _tensors(
            "google-bert/bert-base-uncased",
            110_106_428,
            "The checkpoint also holds a pooler (590,592) and a next-sentence head (1,538), which its "
            "configuration does not name.",
        ),
        unnamed_modules=("pooler", "cls.seq_relationship"),
    ),
    "minilm": PublishedConfig(MINILM),
    "roberta-base": PublishedConfig(ROBERTA, _tensors("FacebookAI/roberta-base", 124_697_433)),
    "deberta-v3-small": PublishedConfig(
        DEBERTA_V3 | {"num_hidden_layers": 6}, _keras("deberta_v3", 141_304_320, without_head=True)
    ),
    "deberta-v3-base": PublishedConfig(DEBERTA_V3, _keras("deberta_v3", 183_831_552, without_head=True)),
    "modernbert-base": PublishedConfig(MODERNBERT, _tensors("answerdotai/ModernBERT-base", 149_655_232)),
    "modernbert-large": PublishedConfig(
        MODERNBERT | _sizes(1024, 2624, 28, 16), _tensors("answerdotai/ModernBERT-large", 395_881_664)
    ),
    **_ettin(),
    "smollm2-135m": PublishedConfig(SMOLLM_2, _tensors("HuggingFaceTB/SmolLM2-135M", 134_515_008)),
    "smollm2-360m": PublishedConfig(
        SMOLLM_2 | _sizes(960, 2560, 32, 15) | {"num_key_value_heads": 5},
        _tensors("HuggingFaceTB/SmolLM2-360M", 361_821_120),
    ),
    # their files hold the tied matrix twice: 751,632,384 and 2,031,739,904 values
    "qwen3-0.6b": PublishedConfig(QWEN_3, _keras("qwen3", 596_049_920)),
    "qwen3-1.7b": PublishedConfig(QWEN_3 | _sizes(2048, 6144, 28, 16), _keras("qwen3", 1_720_574_976)),
    "llama-3.2-1b": PublishedConfig(LLAMA_3_2, _tensors("meta-llama/Llama-3.2-1B", 1_235_814_400)),
    "llama-3.2-1b-instruct": PublishedConfig(
        LLAMA_3_2 | {"eos_token_id": [128001, 128008, 128009]},
        _tensors("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400),
    ),
    "gemma-2b": PublishedConfig(
        GEMMA,
        PublishedCount(
            524_550_144 + 1_981_884_416,
            "Gemma team 2024, arXiv:2403.08295, table 2",
            "The report counts 256,128 rows of embeddings, the checkpoint holds 256,000.",
        ),
    ),
    "gemma-2-2b": GEMMA_2_2B,
    "gemma-2-2b-it": GEMMA_2_2B,
    "gemma-3-270m": GEMMA_3_270M,
    "gemma-3-270m-it": GEMMA_3_270M,
    "gemma-3-1b": GEMMA_3_1B,
    "gemma-3-1b-it": PublishedConfig({**GEMMA_3_1B.values, "eos_token_id": [1, 106]}, GEMMA_3_1B.parameters),
    "mistral-7b": PublishedConfig(MISTRAL, _tensors("mistralai/Mistral-7B-v0.1", 7_241_732_096)),
    "mistral-7b-instruct": PublishedConfig(
        MISTRAL | {"sliding_window": None, "rope_theta": 1000000.0},
        _tensors("mistralai/Mistral-7B-Instruct-v0.2", 7_241_732_096),
    ),
}
