"""Relevance rules, the formula table, and the walk from the start layer down to the image."""
