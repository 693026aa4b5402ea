"""Implementation of `scripts.compare`: results from the MLflow store, statistics, tables, charts and page."""
