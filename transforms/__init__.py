"""MONAI dictionary transforms: read a crop, augment, normalise."""
