"""Entry points of a config: train, evaluate, infer, check, serve."""
