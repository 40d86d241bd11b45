"""How the CPU computes what layers ask for: workspaces, linear maps and the products they are made of."""
