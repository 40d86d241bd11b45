"""Files: reading within limits, recognising wrong files, trust, and atomic writing."""
