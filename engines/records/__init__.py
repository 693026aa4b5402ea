"""What a run leaves: output folder, checkpoints, MLflow run, panels, tables."""
