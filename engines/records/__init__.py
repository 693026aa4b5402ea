"""Records of a run: output folder, checkpoints, MLflow run, panels, tables."""
