"""Commands that measure or prove something about the package; no part of it."""
