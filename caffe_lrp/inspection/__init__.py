"""What there is to know of a net before it explains anything: facts, and pictures of its graph."""
