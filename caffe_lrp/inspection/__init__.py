"""Inspecting a net before it explains anything: facts, and pictures of its graph."""
