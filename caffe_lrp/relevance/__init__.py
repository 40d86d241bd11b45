"""Relevance rules, the table of formulas, and plans for the backward pass down to the image."""
