"""Implementation of `python -m scripts.bundles`."""
