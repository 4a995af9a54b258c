"""The room `score`."""
