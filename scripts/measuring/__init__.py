"""What several benchmarks share. Nothing here needs more than torch, NumPy, SciPy, MONAI and ignite, but `commands`."""
