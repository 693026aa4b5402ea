"""Implementation of `python -m scripts.share`."""
