"""From images to input blobs."""
