"""Tiny random models with real configurations and tokenizers trained on the spot.

In: a folder and a model type, any that transformers knows. Out: a folder that loads like a real one,
in about a second. Knows nothing of: the package under test.
"""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

ENCODERS = ("distilbert", "bert", "roberta", "deberta-v2", "modernbert")
TYPES = (
    *ENCODERS,
    "llama",
    "gemma",
    "gemma2",
    "gemma3_text",
    "qwen3",
    "modernbert-decoder",
    "mistral",
    "gpt2",
)
BERT_LIKE_TOKENS = (*ENCODERS, "modernbert-decoder")  # [CLS], [SEP], [MASK]
NAMES_CLS = ("roberta", "modernbert", "modernbert-decoder")  # as begin and end, in their configurations
OWN_SIZES = {  # beside SMALL_SIZES: short windows, few buckets of relative positions
    "gemma3_text": {"sliding_window": 8, "sliding_window_pattern": 2, "query_pre_attn_scalar": 8},
    "modernbert": {"local_attention": 8, "global_attn_every_n_layers": 2},
    "modernbert-decoder": {"local_attention": 16, "global_attn_every_n_layers": 2},
    "deberta-v2": {
        "relative_attention": True,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "position_biased_input": False,
        "max_relative_positions": -1,
        "type_vocab_size": 0,
    },
    "qwen3": {"tie_word_embeddings": True},
    "qwen2_moe": {"num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    "mixtral": {"num_local_experts": 4},
    "gpt_oss": {"num_local_experts": 4},
    "jamba": {
        "num_experts": 4,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "mamba_d_state": 4,
        "mamba_dt_rank": 4,
    },
    "longformer": {"attention_window": [8, 8]},
    "big_bird": {"block_size": 4},
    "reformer": {
        "attention_head_size": 8,
        "feed_forward_size": 64,
        "attn_layers": ["local", "lsh"],
        "axial_pos_embds": False,
        "num_buckets": 4,
        "is_decoder": False,
    },
    "funnel": {"block_sizes": [1, 1], "d_head": 8},
}
DECODERS = tuple(kind for kind in TYPES if kind not in ENCODERS)
SMALL_SIZES = {  # by transformers' common names; a configuration takes those that it knows
    "hidden_size": 32,
    "embedding_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}

CORPUS = [
    f"{who} {verb} the {what} and said it was {how}."
    for who in ("She", "My friend", "The critic", "Nobody", "A tired viewer")
    for verb in ("watched", "liked", "hated", "finished", "reviewed")
    for what in ("movie", "film", "story", "wonderful plot", "terrible ending", "music")
    for how in ("great", "bad", "positive", "negative", "not good at all", "very good")
] + ["Review: Sentiment: Answer: Text: Label: Is it positive or negative? N/A ."] * 50

LLAMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}[INST] {{ m['content'] | trim }} [/INST]"
    "{% else %} {{ m['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
GEMMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def is_encoder(kind: str) -> bool:
    """Whether models of this type fill in a mask."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    return kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def has_bert_tokens(kind: str) -> bool:
    """Whether models of this type read [CLS] and [SEP]."""
    return is_encoder(kind) or kind in BERT_LIKE_TOKENS


@cache
def _backend_json(kind: str) -> str:
    """A trained tokenizers backend for an architecture, as JSON."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    if has_bert_tokens(kind):
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        tokenizer = Tokenizer(models.WordPiece(_word_pieces(specials), unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        tokenizer.add_special_tokens(specials)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
        return tokenizer.to_str()
    if kind in ("gpt2", "qwen3"):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(CORPUS, trainer)
        return tokenizer.to_str()
    return _sentencepiece_like(kind)


def _word_pieces(specials: list[str]) -> dict[str, int]:
    """Characters and the words that occur twice; the library's trainer breaks ties anew in each process."""
    words = re.findall(r"\w+|[^\w\s]", " ".join(CORPUS).lower())
    characters = sorted(set("".join(words)))
    often = sorted(word for word, count in Counter(words).items() if count > 1)
    unused = [f"[unused{number}]" for number in range(100)]  # as BERT's own vocabulary has them
    pieces = [*specials, *characters, *(f"##{character}" for character in characters), *often, *unused]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}


def _sentencepiece_like(kind: str) -> str:
    """Byte-fallback BPE with the spaces of SentencePiece; Llama and Mistral put one in front."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers

    gemma = kind.startswith("gemma")
    specials = (
        ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
        if gemma
        else ["<unk>", "<s>", "</s>"]
    )
    replace = normalizers.Replace(" ", "▁")
    front = [] if gemma else [normalizers.Prepend("▁")]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Sequence([*front, replace])
    # SentencePiece learns no piece across spaces: train on words, each with its space before it.
    words = [f" {word}" if gemma else word for line in CORPUS for word in line.split()]
    trained.train_from_iterator(words, trainers.BpeTrainer(vocab_size=260, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    names = [*specials, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    vocab = {name: place for place, name in enumerate(dict.fromkeys(names))}
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = trained.normalizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(specials)
    begin = "<bos>" if gemma else "<s>"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, vocab[begin])]
    )
    return tokenizer.to_str()


def tiny_tokenizer(kind: str, chat: bool = False):
    """A fast tokenizer as the architecture has it; with `chat`, a chat template (decoders)."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if has_bert_tokens(kind):
        names = {
            "unk_token": "[UNK]",
            "pad_token": "[PAD]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        }
    elif kind == "qwen3":
        names = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    elif kind == "gpt2":
        names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    elif kind.startswith("gemma"):
        names = {
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"],
        }
    else:
        names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(_backend_json(kind)), **names)
    if chat and not is_encoder(kind):
        tokenizer.chat_template = GEMMA_CHAT if kind.startswith("gemma") else LLAMA_CHAT
    return tokenizer


def tiny_config(kind: str, tokenizer):
    """The real configuration class with two layers of width 32."""
    from transformers import CONFIG_MAPPING

    size = len(tokenizer)
    if kind == "distilbert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
        own = {"max_position_embeddings": 128, "initializer_range": 0.2}
    elif kind == "bert":
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        own = {"intermediate_size": 64, "max_position_embeddings": 128, "initializer_range": 0.2}
    elif kind == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4}
        own = {"n_positions": 256, "initializer_range": 0.2}
    elif kind in OWN_SIZES or kind == "roberta" or kind not in TYPES:
        sizes, own = _small_sizes(kind), dict(OWN_SIZES.get(kind, {}))
    else:
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        own = {
            "num_key_value_heads": 2,
            "head_dim": 8,
            "intermediate_size": 64,
            "max_position_embeddings": 256,
            "initializer_range": 0.2,
            "tie_word_embeddings": kind != "mistral",
        }
    if kind == "gemma2":
        own |= {"sliding_window": 8, "query_pre_attn_scalar": 8}
        own |= {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0}
    if kind == "mistral":
        own |= {"sliding_window": 8}
    ids = {
        "bos_token_id": tokenizer.cls_token_id if kind in NAMES_CLS else tokenizer.bos_token_id,
        "eos_token_id": tokenizer.sep_token_id if kind in NAMES_CLS else tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if kind.startswith("modernbert"):
        ids |= {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id}
    return CONFIG_MAPPING[kind](vocab_size=size, **sizes, **own, **ids)


def _small_sizes(kind: str) -> dict:
    """The small sizes under the names that this architecture's configuration has for them."""
    from transformers import CONFIG_MAPPING

    default = CONFIG_MAPPING[kind]()
    names = {name: default.attribute_map.get(name, name) for name in SMALL_SIZES}
    return {name: SMALL_SIZES[common] for common, name in names.items() if name in vars(default)}


def tiny_model(folder: Path, model_type: str, chat: bool = False, seed: int = 0) -> Path:
    """Write a loadable folder: weights with their language-model head, configuration, tokenizer.

    `chat` gives decoders a chat template. The weights are random but large enough that logits
    differ clearly between inputs.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, BertForPreTraining

    folder = Path(folder)
    tokenizer = tiny_tokenizer(model_type, chat)
    config = tiny_config(model_type, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if model_type == "bert":
            model = BertForPreTraining(config)  # as the real checkpoint: masked-LM head and pooler
        elif is_encoder(model_type):
            model = AutoModelForMaskedLM.from_config(config)
        else:
            model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
