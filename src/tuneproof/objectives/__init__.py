"""What a model is trained on and asked for: a head, label words, a span, a written answer."""
