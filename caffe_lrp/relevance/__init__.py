"""Relevance rules, the formula table, and the way from the start layer down to the image."""
