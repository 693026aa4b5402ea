"""Exact tiles of large images in bounded memory."""
