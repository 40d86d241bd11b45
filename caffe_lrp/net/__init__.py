"""The layer graph: Split insertion, indices, shapes, weights, forward pass."""
