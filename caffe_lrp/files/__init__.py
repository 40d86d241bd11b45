"""Bytes: reading within limits, what a wrong file is, whom to trust, and atomic writing."""
