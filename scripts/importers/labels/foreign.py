"""Annotation files of other tools, told by their content: what they are, and which command reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transforms.errors import UserError
from transforms.plain_text import one_line
from transforms.reading.annotation_text import annotation_text

_VIA = "annotations of the VGG Image Annotator (VIA); import them with python -m scripts.prepare via"
_COCO = "COCO annotations; import them with python -m scripts.prepare coco"
_QUPATH = "GeoJSON, as QuPath exports it; import it with python -m scripts.prepare qupath"
_AS_COCO = "which is not read; convert them to COCO JSON, and import that with python -m scripts.prepare coco"
_LABELME = f"LabelMe annotations, one file per image, {_AS_COCO}"
_CVAT = (
    "annotations of CVAT for images, which are not read; export the task from CVAT as COCO 1.0, and import that with"
)
_CVAT += " python -m scripts.prepare coco"
_VOC = f"Pascal VOC annotations, one file per image, {_AS_COCO}"
_ENDINGS = (".json", ".geojson", ".xml", ".csv", ".gz", ".zip")
_XML = (
    (re.compile(rb"<annotations>.*?<(version>1\.|meta>|image\s|track\s)", re.DOTALL), _CVAT),
    (re.compile(rb"<annotation[ >].*?<(object|size|filename)>", re.DOTALL), _VOC),
)


def what_it_is(path: Path) -> str | None:
    """ "LabelMe annotations, …; convert them …" of a file, or None if it is not recognized. Never raises."""
    if not path.name.lower().endswith(_ENDINGS):
        return None
    try:
        content = annotation_text(path)
    except (UserError, OSError):
        return None
    head = content[:65536].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"<"):
        return next((kind for pattern, kind in _XML if pattern.search(head)), None)
    if head.startswith((b"{", b"[")):
        try:
            return kind_of(json.loads(content.decode("utf-8-sig")))
        except (ValueError, RecursionError, MemoryError):
            return None
    return _VIA if b"region_shape_attributes" in head.split(b"\n", 1)[0] else None


def kind_of(content: Any) -> str | None:
    """What the content of a JSON file is, or None."""
    keys = set(content) if isinstance(content, dict) else set()
    entry = next(iter(content.values()), None) if keys else None
    if "_via_img_metadata" in keys or (isinstance(entry, dict) and {"filename", "regions"} <= set(entry)):
        return _VIA
    if {"images", "annotations", "categories"} <= keys:
        return _COCO
    if "shapes" in keys and keys & {"imagePath", "imageData", "flags", "version"}:
        return _LABELME
    kind = content.get("type") if isinstance(content, dict) else None
    return _QUPATH if kind in ("FeatureCollection", "Feature") else None


def beside(image: Path, *folders: Path) -> str:
    """As `found_among`, of the files of an image's name beside it, then of all beside it and in the folders."""
    own = [image.with_suffix(ending) for ending in _ENDINGS]
    return found_among([*own, *(path for folder in (image.parent, *folders) for path in sorted(folder.iterdir()))])


def found_among(paths: Iterable[Path]) -> str:
    """ "; a.json holds …" for the first file that is recognized, as the end of a message; else empty."""
    for path in [path for path in paths if path.name.lower().endswith(_ENDINGS) and path.is_file()][:20]:
        kind = what_it_is(path)
        if kind:
            return f"; {one_line(path.name)} holds {kind}"
    return ""
