"""The words of the demo model's card.

In: counts, curve, samples and losses of a pretraining run. Out: the card as Markdown.
Knows nothing of: torch, files.
"""

import math
from typing import Any

HEAD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---
# The demo's language model

A small decoder of the Llama architecture (RMSNorm, rotary positions, grouped-query attention,
SwiGLU, tied embeddings), pretrained here on review text so that the demo needs no
download. It writes the beginning of a review and loses the thread soon after; it is not fit
for anything but showing what adaptation does to a language model.
"""


def card_text(
    corpus: dict[str, int],
    curve: list[dict[str, Any]],
    samples: list[str],
    loss: float,
    parameters: int,
    progress: dict[str, Any],
    minutes: float,
) -> str:
    """The model card; `loss` is the held-out cross-entropy in nats per token."""
    bits_per_character = loss / math.log(2) * corpus["held_out_tokens"] / corpus["held_out_characters"]
    lines = [
        HEAD,
        "| | |\n|---|---|",
        f"| parameters | {parameters:,} (the output shares the input embedding) |",
        "| shape | 4 blocks, width 256, 8 query heads over 2 key-value heads, inner width 640 |",
        "| vocabulary | 4,096, byte-level BPE; `<s>` begins every text, `</s>` ends, `<pad>` pads |",
        "| positions | trained on windows of 256 tokens; the configuration allows 512 |",
        "| weights | bfloat16, safetensors, Apache-2.0 |",
        f"| tokens seen | {progress['tokens']:,} in {progress['step']:,} steps, "
        f"{progress['trained_s'] / 60:.0f} minutes of processor time on one thread |",
        f"| held-out loss | **{loss:.3f}** nats per token (perplexity {math.exp(loss):.1f}, "
        f"{bits_per_character:.3f} bits per character), bf16 weights, "
        f"{corpus['held_out_reviews']} unseen reviews |",
        "",
        "## Data",
        "Large Movie Review Dataset (Maas et al., 2011, ACL: Learning Word Vectors for Sentiment "
        f"Analysis): the texts of {corpus['train']:,} training and {corpus['unsup']:,} unlabelled "
        "reviews. The labels were never read. No text of the test part was used: "
        f"{corpus['in_test']:,} reviews that stand there as well were left out, and "
        f"{corpus['repeated']:,} repeats. {corpus['held_out_reviews']} unlabelled reviews were "
        f"held out. {corpus['train_tokens']:,} training tokens.",
        "",
        "## Command",
        "```",
        "python demo/pretrain.py --data ../shared/data/imdb \\",
        f"    --out src/tuneproof/families/demo_model --minutes {minutes:g} --threads 1",
        "```",
        "The embedding begins as word vectors of the same texts (pointwise mutual information, "
        "truncated singular value decomposition, nine seconds), all else at random. AdamW "
        "(0.9, 0.98), weight decay 0.1, batch 2,048 tokens, peak rate 2e-3, warm-up of 200 steps, "
        "then flat, then straight down over the last 40 % of the budget; gradient norm clipped at 1, "
        "bf16 autocast. The schedule follows processor time, so a slower machine sees fewer tokens; "
        "the same command goes on where it stopped.",
        "",
        "## Curve",
        "| minutes | tokens | share of peak rate | train loss | held-out loss (96 windows) |",
        "|---:|---:|---:|---:|---:|",
    ]
    for row in curve:
        lines.append(
            f"| {row['trained_s'] / 60:.0f} | {row['tokens']:,} | {row['rate_factor']:.2f} "
            f"| {row['train_loss']:.3f} | {row['held_out_loss']:.3f} |"
        )
    lines += ["", "## Samples", "Temperature 0.8, the 40 likeliest tokens, 60 tokens."]
    for text in samples:
        lines += ["", "> " + text.replace("\n", "\n> ")]
    return "\n".join(lines) + "\n"
