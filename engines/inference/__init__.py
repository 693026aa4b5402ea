"""Inferers: padded, mirrored, whole images, exact tiles."""
