"""Annotations to label maps: classes, merging, polygons."""
