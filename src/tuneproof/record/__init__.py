"""A study's files: their names, their reading, the comparisons made from them."""
