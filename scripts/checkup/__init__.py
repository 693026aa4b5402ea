"""Checks of `scripts.doctor`."""
