"""The family of BERT: encoders that read both ways (DistilBERT, BERT, MiniLM).

In: nothing. Out: one Family. Knows nothing of: weights, methods, tasks.

Source: Devlin et al. 2019, arXiv:1810.04805; Sanh et al. 2019, arXiv:1910.01108.
"""

from tuneproof.families.family import Family, encoder_has_words_head

ATTENTION = (*("query", "key", "value", "attention.output.dense"), *("q_lin", "k_lin", "v_lin", "out_lin"))
FAMILY = Family(
    name="bert",
    kind="encoder",
    model_types=("bert", "distilbert"),
    targets=(*ATTENTION, "intermediate.dense", "output.dense", "lin1", "lin2"),
    attention=ATTENTION,
    head="classifier",
    head_modules=("pre_classifier", "classifier", "qa_outputs"),
    words_head=("cls.predictions.transform", "vocab_transform."),
    bos="tokenizer",
    has_words_head=encoder_has_words_head,
)
