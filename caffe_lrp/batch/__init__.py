"""Jobs and the runner that takes a list of images to files."""
