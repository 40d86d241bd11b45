"""Models and explanations."""
