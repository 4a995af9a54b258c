"""Predictions: the rows behind the wall, and the passes that fill them."""
