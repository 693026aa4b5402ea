"""Staged training: plan, epochs, losses, learning-rate schedule, console."""
