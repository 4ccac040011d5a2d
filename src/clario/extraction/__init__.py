"""Extractors: from a text to mentions. The registry is in `base`."""
