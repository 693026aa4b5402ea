"""Cases to a dataset folder: planning, reading in parallel, staging, tables."""
