"""Computation on the CPU for layers and rules: workspaces, linear maps, and their products."""
