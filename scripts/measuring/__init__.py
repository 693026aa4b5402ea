"""Code shared by benchmarks. All modules but `commands` need only torch, NumPy, SciPy, MONAI and ignite."""
