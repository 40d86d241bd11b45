"""Engines, which run plans on images."""
