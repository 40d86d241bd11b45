"""The layer graph: deployed, built with indices, shapes and weights, merged; the forward pass."""
