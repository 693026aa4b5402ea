"""Files of CSAW-S: image, class and patient, derived from the file name alone.

    anonymized_dataset/<PPP>/<PPP>_<n>.png                        an image; PPP is the patient
    anonymized_dataset/<PPP>/<PPP>_<n>_8bit.png                   its 8-bit copy, beside images stored in color
    anonymized_dataset/<PPP>/<PPP>_<n>_<class>.png                a binary mask
    test_data/anonymized_dataset/<PPP>/<PPP>_<n>.png              a test image; patients are numbered separately
    test_data/annotator_{1,2,3}/<PPP>/<PPP>_<n>_<class>.png       its masks, by each of three experts

Source: github.com/ChrisMats/CSAW-S, README and csaws_creation/{settings,generate_segmentation_maps}.py.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from transforms.errors import UserError
from transforms.reading.find_files import files_below
from transforms.reading.pillow import as_shown, open_picture
from transforms.vocabulary import plain

# Lowest precedence first: the reverse of `CLASSES` in csaws_creation/settings.py
CLASSES = (
    "background",
    "mammary gland",
    "pectoral muscle",
    "non-mammary tissue",
    "text",
    "nipple",
    "skin",
    "foreign object",
    "thick vessels",
    "axillary lymph nodes",
    "calcifications",
    "cancer",
)
_BY_FILE = {plain(name): name for name in CLASSES[1:]}
_NAME = re.compile(r"(?P<image>(?P<patient>\d{3})_\d+)(?:_(?P<what>.+))?\.png", re.IGNORECASE)
Masks = dict[str, list[Path]]


@dataclass
class Scan:
    """The files of one image, by their names.

    Attributes:
        patient: three digits; training and test patients of one number are different people.
        image: the picture, or None if only masks exist.
        twin: the 8-bit copy beside a picture stored in color, or None.
        masks: class name to its binary masks.
    """

    patient: str
    image: Path | None = None
    twin: Path | None = None
    masks: Masks = field(default_factory=dict)

    @property
    def source(self) -> Path | None:
        """The file to read: the 8-bit copy if the picture is stored in color."""
        if self.image is None or (self.twin is not None and header(self.image)[0] in ("RGB", "RGBA", "CMYK")):
            return self.twin
        return self.image


def find_root(images: Path) -> Path:
    """Return the folder that holds anonymized_dataset, for any of the folders that a user may specify."""
    inside = [images.parent] if images.name == "anonymized_dataset" else []
    for root in (images, images / "CsawS", *inside):
        if (root / "anonymized_dataset").is_dir() and root.name != "test_data":
            return root
    found = sorted(path.name for path in images.iterdir())[:5] if images.is_dir() else []
    raise UserError(
        f"{images}: not the CSAW-S folder; looked for anonymized_dataset in it, found {', '.join(found) or 'nothing'}; "
        "specify the folder CsawS that holds anonymized_dataset and test_data"
    )


def find_scans(folder: Path, remarks: Counter[str], masks_only: bool = False) -> dict[str, Scan]:
    """Return images and masks below a folder, by image id; only the file's own name counts."""
    scans: dict[str, Scan] = {}
    for path in files_below(folder):
        if path.suffix.lower() != ".png":
            continue
        parts = _NAME.fullmatch(path.name)
        if not parts:
            remarks["PNG files have no CSAW-S name and were ignored"] += 1
            continue
        scan = scans.setdefault(parts["image"], Scan(parts["patient"]))
        if not _add(scan, path, parts["what"], masks_only):
            remarks["PNG files are of no known class and were ignored"] += 1
    if not masks_only and not any(scan.image or scan.twin for scan in scans.values()):
        raise UserError(f"{folder}: no images; looked in it and below it for PPP_n.png, as in 001/001_0.png")
    return scans


def _add(scan: Scan, path: Path, what: str | None, masks_only: bool) -> bool:
    """Add a file to a scan; return False if its class is unknown."""
    if what is None:
        if scan.image is not None:
            raise UserError(f"{path}: {scan.image} is the same image; remove one of the two")
        scan.image = None if masks_only else path
    elif what.lower() == "8bit":
        scan.twin = None if masks_only else path
    elif plain(what) in _BY_FILE:
        scan.masks.setdefault(_BY_FILE[plain(what)], []).append(path)
    else:
        return what.lower() == "unclassified"  # the authors' own code skips it
    return True


def header(path: Path) -> tuple[str, tuple[int, ...]]:
    """Return Pillow's mode and (rows, columns) of a picture; empty if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_picture(path) as picture:
                return picture.mode, as_shown(picture, np.empty((picture.height, picture.width), bool)).shape
    except Exception:  # Pillow raises many kinds on damaged files, which are reported when their pixels are read
        return "", ()
