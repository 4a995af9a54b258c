"""The room `predict`."""
