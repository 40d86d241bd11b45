"""Converts nets for training into nets for images; `deployed` has the result and the entry point."""
