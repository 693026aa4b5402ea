"""File names without the suffixes of their format."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from transforms.reading.pictures import SUFFIXES

DICOM_SUFFIXES = (".dcm", ".dicom")
MOST_BYTES = 255
"""Of a file name, on nearly all file systems."""
ROOM = 32
"""For what results add to the name of their image."""


def stem(path: Path) -> str:
    """File name without its image suffix: "a.b.nii.gz" is "a.b", "1.2.840.1" (a DICOM name) is itself."""
    name = path.name
    for suffix in (*SUFFIXES, *DICOM_SUFFIXES, ".geojson", ".json"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def result_name(name: str) -> str:
    """The name of an image's results: its own, or where that leaves no room for an ending, its start and a digest."""
    folder, slash, last = name.rpartition("/")
    content = os.fsencode(last)
    if len(content) <= MOST_BYTES - ROOM:
        return name
    digest = hashlib.sha256(content).hexdigest()[:16]
    start = content[: MOST_BYTES - ROOM - len(digest) - 1].decode("utf-8", "ignore")
    return f"{folder}{slash}{start}-{digest}"
