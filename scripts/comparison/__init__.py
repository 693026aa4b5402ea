"""What `scripts.compare` is made of: results from the MLflow store, statistics, tables, charts, pictures, the page."""
