"""Options, paths, processes and versions, used by every other package."""
