"""Publish a finished arm: its files, a card with the study's evidence, a gate, the hub."""
