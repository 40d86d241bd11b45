"""Where the images of a run are named: lists, folders and archives."""
