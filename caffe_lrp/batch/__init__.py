"""A run over a list of images: its jobs, its journal, and the events that tell of it."""
