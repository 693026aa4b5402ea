"""How many bootstrap samples of the subjects are drawn, and their seed."""

DRAWS = 2000
SEED = 0
