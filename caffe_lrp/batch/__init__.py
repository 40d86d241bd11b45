"""A run over a list of images: its jobs, its journal, and its events."""
