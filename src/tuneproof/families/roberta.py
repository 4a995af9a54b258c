"""The family of RoBERTa: BERT's layers, positions behind the pad token's id, a classifier of two layers.

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.

Source: Liu et al. 2019, arXiv:1907.11692.
"""

from dataclasses import replace

import tuneproof.families.bert as bert

FAMILY = replace(
    bert.FAMILY,
    name="roberta",
    model_types=("roberta",),
    head_modules=("classifier", "qa_outputs"),
    words_head=("lm_head.",),
)
