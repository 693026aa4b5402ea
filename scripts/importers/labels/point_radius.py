"""Radius of regions that were annotated by one or two points only."""

POINT_RADIUS = 2.0
"""Of the disk, in pixels."""
