"""From relevance to pictures."""
