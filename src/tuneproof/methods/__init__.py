"""The room `methods`."""
