"""Reading images and dataset folders, crops, normalization, writing label maps: MONAI dictionary transforms.

Import from the modules: `from transforms.dataset import Dataset`. Commands that only read files start fast because
nothing is imported here.
"""
