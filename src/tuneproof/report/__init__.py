"""The report of a study: page, Markdown, JSON, notebook cell, and the index of several studies."""
