"""The sources of a run's images: lists, folders and archives."""
