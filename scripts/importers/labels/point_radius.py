"""How large a region is drawn of which the annotator gave one or two points only."""

POINT_RADIUS = 2.0
"""Of the disk, in pixels."""
