"""Implementation of `scripts.crossval`: data sets of the folds, trainings, and summary."""
