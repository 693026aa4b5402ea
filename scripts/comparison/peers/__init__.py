"""Rows of a comparison that are files: label maps of any tool, or of a second reader."""
