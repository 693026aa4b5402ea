"""MONAI dictionary transforms: read a crop, augment, normalise; and the dataset folder they read from."""

from transforms.crops import RandBalancedCropd
from transforms.dataset import Dataset
from transforms.errors import UserError
from transforms.mammogram import Mammogram, read_mammogram
from transforms.save import SaveSegmentationd
from transforms.whole import ArgmaxLiked, LoadLabeld, LoadMammogramd, LoadWholed, NormalizeRanged

__all__ = [
    "ArgmaxLiked",
    "Dataset",
    "LoadLabeld",
    "LoadMammogramd",
    "LoadWholed",
    "Mammogram",
    "NormalizeRanged",
    "RandBalancedCropd",
    "SaveSegmentationd",
    "UserError",
    "read_mammogram",
]
