"""Importers: one module per kind of source; all write through `writer`."""
