"""What `python -m scripts.bundles` is made of."""
