"""A model on disk, as the specification of a net and its weights."""
