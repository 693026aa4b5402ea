"""What `python -m scripts.share` is made of."""
