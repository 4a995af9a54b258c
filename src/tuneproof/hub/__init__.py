"""The model and data hub: downloads, verified cached files, what works offline."""
