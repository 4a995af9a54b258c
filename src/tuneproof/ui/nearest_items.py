"""The train items whose words are most like a text's.

In: a study's folder, a text. Out: items of train with their similarity. Knows nothing of: arms, HTTP.

Similarity is the cosine of TF-IDF weights of words, in any script; of character sequences where train has no
words.
"""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tuneproof.errors import DataError
from tuneproof.methods.lexical_features import fold_text, make_vectorizer
from tuneproof.metrics.words import word_pattern
from tuneproof.record.study_folder import read_items
from tuneproof.tasks.question_rows import question_from_json

MAX_ITEMS = 100_000  # beyond, a sample is compared
COUNT = 5
MAX_CHARACTERS = 1_000  # of a text in the answer


class NearestItems:
    """The train items of a study, ready to be compared; of more than `max_items` a sample."""

    def __init__(self, study: Path, max_items: int = MAX_ITEMS) -> None:
        """Read and weigh the items. Raises: DataError where the study has no train items."""
        self.items = read_items(study, "train")
        self.total = len(self.items.ids)
        if not self.total:
            raise DataError(study.name, "keeps no texts of its train items.", do="Run the study again.")
        rows = range(self.total)
        self.rows = list(rows) if self.total <= max_items else random.Random(0).sample(rows, max_items)
        texts = [self.items.texts[row] for row in self.rows]
        self._vectorizer = _words()
        try:
            self._weights_TV = self._vectorizer.fit_transform(texts)
        except ValueError:  # no text has a word
            self._vectorizer = make_vectorizer("characters", 4)
            self._weights_TV = self._vectorizer.fit_transform(texts)

    def nearest(self, text: str) -> dict[str, Any]:
        """{items [{id, text, label, similarity}], compared, of}: at most five, the most similar first.

        Items that share nothing with the text are left out.
        """
        similarity_T = (self._weights_TV @ self._vectorizer.transform([text]).T).toarray().reshape(-1)
        order = np.argsort(-similarity_T, kind="stable")[:COUNT]
        items = [self._item(self.rows[at], float(similarity_T[at])) for at in order if similarity_T[at] > 0]
        return {"items": items, "compared": len(self.rows), "of": self.total}

    def _item(self, row: int, similarity: float) -> Mapping[str, Any]:
        items = self.items
        label = items.golds[row]
        if items.questions:
            answers = question_from_json(items.texts[row], items.questions[row]).answers
            label = answers[0] if answers else ""
        text = items.texts[row]
        text = text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
        return {"id": items.ids[row], "text": text, "label": label, "similarity": round(similarity, 4)}


def _words() -> Any:
    """The vectorizer of words; without the signs of `methods/lexical_features.py`, which take far longer."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    pattern = word_pattern()
    return TfidfVectorizer(preprocessor=fold_text, token_pattern=pattern, sublinear_tf=True, dtype=np.float32)
