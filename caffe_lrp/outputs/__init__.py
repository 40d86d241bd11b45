"""Writers for the files produced per image."""
