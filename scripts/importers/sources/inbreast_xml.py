"""Read the annotations of INbreast: property lists of OsiriX, one file per image.

    AllXML/<id>.xml              regions of interest with a name and points "(x, y)"
    …/<id>_muscle.xml            the pectoral muscle, as such a region or as a list ROIPoints of "{x, y}"

Source: the files of the INbreast release as read by published loaders; Apple's property list, read by `plistlib`, which
refuses entity declarations. x is the column and y the row, in pixels from the image's upper left corner.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.importers.labels.polygon_fill import Ring
from transforms.errors import UserError
from transforms.reading.annotation_text import annotation_text

_POINT = re.compile(r"\s*[({]\s*([^,\s]+)\s*,\s*([^,\s)}]+)\s*[)}]\s*")
NAMELESS = "unnamed"
MUSCLE = "pectoral muscle"


@dataclass
class Rois:
    """Content of one file.

    Attributes:
        areas: name and points (n, 2) as (x, y) of each region.
        skipped: number of skipped regions, by reason.
    """

    areas: list[tuple[str, Ring]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)


def read_rois(path: Path) -> Rois:
    """Read the regions of interest of a file; the muscle's second form gives one region named as the muscle.

    Raises:
        UserError: not such a property list, or an invalid point; states the file and the region's position.
    """
    text = annotation_text(path)
    try:
        content = plistlib.loads(text, fmt=plistlib.FMT_XML)
    except Exception as error:  # expat, plistlib and its conversions raise many kinds
        raise UserError(
            f"{path}: not readable as an OsiriX property list ({type(error).__name__}); copy it again from the release"
        ) from None
    found = Rois()
    if isinstance(content, dict) and "ROIPoints" in content:
        found.areas.append((MUSCLE, _points(path, 1, content["ROIPoints"])))
        return found
    for number, roi in enumerate(_regions(path, content), start=1):
        points = _points(path, number, roi.get("Point_px"))
        if roi.get("NumberOfPoints", len(points)) != len(points):
            reason = "have another number of points than they state"
        elif not len(points):
            reason = "have no points"
        else:
            found.areas.append((_name(roi.get("Name")), points))
            continue
        found.skipped[reason] = found.skipped.get(reason, 0) + 1
    return found


def _regions(path: Path, content: Any) -> Iterable[dict[str, Any]]:
    try:
        return [dict(roi) for image in content["Images"] for roi in image["ROIs"]]
    except (TypeError, KeyError, ValueError):
        kind = ", ".join(map(str, content))[:80] if isinstance(content, dict) else type(content).__name__
        raise UserError(
            f"{path}: holds no regions of interest (found {kind}); expected Images, and ROIs in each, or ROIPoints"
        ) from None


def _points(path: Path, number: int, texts: Any) -> Ring:
    """Parse "(x, y)", "(x,y)" or "{x, y}" to points (n, 2) as (x, y)."""
    points = []
    try:
        for text in texts or ():
            x, y = (float(part) for part in _POINT.fullmatch(text).groups())  # type: ignore[union-attr]
            points.append((x, y))
        ring = np.array(points, np.float64).reshape(-1, 2)
        if not np.isfinite(ring).all() or np.abs(ring).max(initial=0) > 1e7:
            raise ValueError
    except (TypeError, ValueError, AttributeError):
        raise UserError(
            f"{path}: a point of region {number} is not of the form (x, y); copy the file again from the release"
        ) from None
    return ring


def _name(name: Any) -> str:
    """Return the name of a region; "nan" means no name."""
    text = " ".join(str(name).split()) if name is not None else ""
    return NAMELESS if text.lower() in ("", "nan") else text
