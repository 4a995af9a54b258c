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
    """A published parameter count. `differs`: why the architecture's own count is another one."""

    count: int
    source: str
    differs: str = ""


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


def _tensors(name: str, count: int, differs: str = "") -> PublishedCount:
    source = f"the sizes of the tensors at https://huggingface.co/{name}"
    return PublishedCount(count, source, differs)


LLAMA_3_2_1B = PublishedConfig(LLAMA_3_2, _tensors("meta-llama/Llama-3.2-1B", 1_235_814_400))
GEMMA_2B = PublishedConfig(
    GEMMA,
    PublishedCount(
        524_550_144 + 1_981_884_416,
        "Gemma team 2024, arXiv:2403.08295, table 2",
        "The report counts 256,128 rows of embeddings, the checkpoint holds 256,000.",
    ),
)
GEMMA_2_2B = PublishedConfig(
    GEMMA_2, PublishedCount(589_824_000 + 2_024_517_888, "Gemma team 2024, arXiv:2408.00118, table 2")
)
MISTRAL_7B = PublishedConfig(MISTRAL, _tensors("mistralai/Mistral-7B-v0.1", 7_241_732_096))
MISTRAL_7B_INSTRUCT = PublishedConfig(
    {**MISTRAL, "sliding_window": None, "rope_theta": 1000000.0},
    _tensors("mistralai/Mistral-7B-Instruct-v0.2", 7_241_732_096),
)
DISTILBERT_BASE = PublishedConfig(DISTILBERT, _tensors("distilbert/distilbert-base-uncased", 66_985_530))
BERT_BASE = PublishedConfig(
    BERT,
    _tensors(
        "google-bert/bert-base-uncased",
        110_106_428,
        "The checkpoint also holds a pooler (590,592) and a next-sentence head (1,538), which its "
        "configuration does not name.",
    ),
    unnamed_modules=("pooler", "cls.seq_relationship"),
)
MINILM_L6 = PublishedConfig(MINILM)
