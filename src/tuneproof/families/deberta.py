"""The family of DeBERTa 2 and 3: encoders whose attention tells content from relative position.

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.

No table of positions bounds the length; the limit is the length that they were trained on. The checkpoints of
version 3 were trained to find replaced tokens: they have no language-model head that transformers knows.

Source: He et al. 2021, arXiv:2006.03654 and arXiv:2111.09543.
"""

from dataclasses import replace

import tuneproof.families.bert as bert

ATTENTION = ("query_proj", "key_proj", "value_proj", "attention.output.dense")
FAMILY = replace(
    bert.FAMILY,
    name="deberta",
    model_types=("deberta-v2",),
    targets=(*ATTENTION, "intermediate.dense", "output.dense"),
    attention=ATTENTION,
    head_modules=("pooler", "classifier", "qa_outputs"),
    words_head=("cls.predictions.",),
)
