"""Rows of a comparison from files: label maps of any tool, or of a second reader."""
