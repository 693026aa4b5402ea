"""File names without the suffixes of their format."""

from __future__ import annotations

from pathlib import Path

from transforms.reading.pictures import SUFFIXES

DICOM_SUFFIXES = (".dcm", ".dicom")


def stem(path: Path) -> str:
    """File name without its image suffix: "a.b.nii.gz" is "a.b", "1.2.840.1" (a DICOM name) is itself."""
    name = path.name
    for suffix in (*SUFFIXES, *DICOM_SUFFIXES, ".geojson", ".json"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
