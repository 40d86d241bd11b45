"""The layer graph: deployment, construction with indices, shapes and weights, merging, forward pass."""
