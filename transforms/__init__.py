"""Reading images and dataset folders, crops, normalization, writing label maps: MONAI dictionary transforms.

Import from the modules: `from transforms.dataset import Dataset`. This file imports nothing, so that commands that only
read files start fast.
"""
