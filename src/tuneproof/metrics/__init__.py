"""The room `metrics`."""
