"""A finished arm on new data."""
