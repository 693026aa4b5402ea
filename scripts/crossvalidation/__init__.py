"""What `scripts.crossval` is made of: the folds' data sets, their trainings, and the summary."""
