"""File names without the suffixes of their format."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from transforms.reading.pictures import SUFFIXES

DICOM_SUFFIXES = (".dcm", ".dicom")
MOST_BYTES = 255
"""Maximum length of a file name on nearly all file systems."""
ROOM = 32
"""Bytes reserved for what results append to the name of their image."""


def stem(path: Path) -> str:
    """File name without its image suffix: "a.b.nii.gz" becomes "a.b", "1.2.840.1" (a DICOM name) is unchanged."""
    name = path.name
    for suffix in (*SUFFIXES, *DICOM_SUFFIXES, ".geojson", ".json"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def result_name(name: str) -> str:
    """Name of an image's results: its own, or its start and a digest if it is too long for an ending."""
    folder, slash, last = name.rpartition("/")
    content = os.fsencode(last)
    if len(content) <= MOST_BYTES - ROOM:
        return name
    digest = hashlib.sha256(content).hexdigest()[:16]
    start = content[: MOST_BYTES - ROOM - len(digest) - 1].decode("utf-8", "ignore")
    return f"{folder}{slash}{start}-{digest}"
