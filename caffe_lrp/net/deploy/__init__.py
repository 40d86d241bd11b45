"""Nets for training made into nets for images; `deployed` has what comes of it, and the way there."""
