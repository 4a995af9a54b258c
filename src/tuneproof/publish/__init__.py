"""A finished arm for others: its files, a card with the study's evidence, a gate, the hub."""
