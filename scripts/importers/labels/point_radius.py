"""Radius of regions that are annotated by one or two points only."""

POINT_RADIUS = 2.0
"""Radius of the disk, in pixels."""
