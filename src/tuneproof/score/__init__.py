"""Scores, intervals and comparisons, from predictions alone.

In: predictions. Out: scores.json and comparisons.json as values. Knows nothing of: models, torch.
"""
