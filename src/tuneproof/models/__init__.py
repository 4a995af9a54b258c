"""Pretrained models: loading, heads, frozen layers, caches, memory errors, precision, sharding."""
