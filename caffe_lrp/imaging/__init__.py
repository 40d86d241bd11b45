"""Images into input blobs, relevance into pictures."""
