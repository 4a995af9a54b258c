"""The configuration of a study: YAML with line numbers, validation, the Recipe, its JSON schema."""
