"""Number and seed of the bootstrap samples of the subjects."""

DRAWS = 2000
SEED = 0
