"""Predictions of a model, item by item, and the file that holds them."""
