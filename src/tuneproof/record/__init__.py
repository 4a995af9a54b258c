"""The room `record`."""
