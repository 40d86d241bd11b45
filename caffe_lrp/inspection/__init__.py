"""Inspecting a net before anything is explained: facts, and pictures of its graph."""
