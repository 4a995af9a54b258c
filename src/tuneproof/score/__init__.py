"""Scores, intervals and comparisons, from predictions alone.

In: predictions. Out: scores.json and comparisons.json as values. Knows nothing of: models, torch.
"""

from tuneproof.score.compare import adjust, compare
from tuneproof.score.scores import Score, as_json, score
from tuneproof.score.significance import holm
from tuneproof.score.verdict import Comparison, verdict

__all__ = ["Comparison", "Score", "adjust", "as_json", "compare", "holm", "score", "verdict"]
