"""Writing of cases to a dataset folder: planning, reading in parallel, staging, tables."""
