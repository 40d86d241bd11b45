"""What runs a plan on images."""
