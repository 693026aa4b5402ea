"""Recognition of other tools' annotation files by content, with the command that reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transforms.errors import UserError
from transforms.plain_text import one_line
from transforms.reading.annotation_text import annotation_text

KINDS = {
    "via": "annotations of the VGG Image Annotator (VIA); import them with python -m scripts.prepare via",
    "coco": "COCO annotations; import them with python -m scripts.prepare coco",
    "qupath": "GeoJSON, as QuPath exports it; import it with python -m scripts.prepare qupath",
    "labelme": "LabelMe annotations, one file per image, which are not supported; convert them to COCO JSON, and "
    "import that with python -m scripts.prepare coco",
    "cvat": "annotations of CVAT for images, which are not supported; export the task from CVAT as COCO 1.0, and "
    "import that with python -m scripts.prepare coco",
    "voc": "Pascal VOC annotations, one file per image, which are not supported; convert them to COCO JSON, and "
    "import that with python -m scripts.prepare coco",
}
"""Kind of file to its description and the remedy: the middle and end of a message."""

_ENDINGS = (".json", ".geojson", ".xml", ".csv", ".gz", ".zip")
_XML = (
    (re.compile(rb"<annotations>.*?<(version>1\.|meta>|image\s|track\s)", re.DOTALL), "cvat"),
    (re.compile(rb"<annotation[ >].*?<(object|size|filename)>", re.DOTALL), "voc"),
)
_LOOKED_AT = 20  # files examined per folder


def what_it_is(path: Path) -> str | None:
    """Describe a file's content by a text of `KINDS`; None if it is not recognized. Never raises."""
    if not path.name.lower().endswith(_ENDINGS):
        return None
    try:
        content = annotation_text(path)
    except (UserError, OSError):
        return None
    head = content[:65536].removeprefix(b"\xef\xbb\xbf").lstrip()
    kind = None
    if head.startswith(b"<"):
        kind = next((kind for pattern, kind in _XML if pattern.search(head)), None)
    elif head.startswith((b"{", b"[")):
        try:
            kind = kind_of(json.loads(content.decode("utf-8-sig")))
        except (ValueError, RecursionError, MemoryError):
            kind = None
    elif b"region_shape_attributes" in head.split(b"\n", 1)[0]:
        kind = "via"
    return None if kind is None else KINDS[kind]


def kind_of(content: Any) -> str | None:
    """Return the key of `KINDS` for the content of a JSON file, or None."""
    keys = set(content) if isinstance(content, dict) else set()
    entry = next(iter(content.values()), None) if keys else None
    if "_via_img_metadata" in keys or (isinstance(entry, dict) and {"filename", "regions"} <= set(entry)):
        return "via"
    if {"images", "annotations", "categories"} <= keys:
        return "coco"
    if "shapes" in keys and keys & {"imagePath", "imageData", "flags", "version"}:
        return "labelme"
    kind = content.get("type") if isinstance(content, dict) else None
    return "qupath" if kind in ("FeatureCollection", "Feature") else None


def refuse_foreign(path: Path, content: Any, own: str) -> None:
    """Refuse the content of another tool's JSON file.

    Args:
        own: the expected key of `KINDS`.

    Raises:
        UserError: the content is recognized as another kind.
    """
    kind = kind_of(content)
    if kind not in (None, own):
        raise UserError(f"{path}: holds {KINDS[str(kind)]}")


def beside(image: Path, *folders: Path) -> str:
    """Call `found_among` with the files named like the image, then all files beside it and in the folders."""
    own = [image.with_suffix(ending) for ending in _ENDINGS]
    return found_among([*own, *(path for folder in (image.parent, *folders) for path in sorted(folder.iterdir()))])


def found_among(paths: Iterable[Path]) -> str:
    """Return "; a.json holds …" for the first recognized file, as the end of a message; else ""."""
    for path in [path for path in paths if path.name.lower().endswith(_ENDINGS) and path.is_file()][:_LOOKED_AT]:
        kind = what_it_is(path)
        if kind:
            return f"; {one_line(path.name)} holds {kind}"
    return ""
