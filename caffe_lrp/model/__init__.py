"""A model and its explanations, and what is built around them."""
