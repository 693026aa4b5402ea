"""Read annotations of the VGG Image Annotator (VIA) 1 and 2: a project, or an export as JSON or CSV.

Source: VIA's own reader and writer (via.js, github.com/ox-vgg/via). `_via_img_metadata` of a project holds the
top-level content of an export: one object per image, with "filename", "size" in bytes (-1 if unknown), and "regions",
a list (version 1: an object), each with `shape_attributes` and `region_attributes`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.importers.labels.foreign import refuse_foreign
from scripts.importers.sources.annotation_json import read_json
from scripts.importers.sources.csv_rows import csv_rows
from scripts.importers.sources.via_outlines import Outline, outline_of
from transforms.errors import UserError
from transforms.plain_text import same_name

_AGAIN = "export it again from VIA as JSON or CSV"
_EXPECTED = f"expected a project or an export of VIA 2; {_AGAIN}"


@dataclass(frozen=True)
class Region:
    """An outline, its shape, its name in messages, and its attributes."""

    outline: Outline
    shape: str
    where: str
    attributes: dict[str, Any]


@dataclass
class ViaImage:
    """One image of an annotation file.

    Attributes:
        source: the annotation file.
        file_bytes: size of the image file, or None.
    """

    source: Path
    name: str
    file_bytes: int | None
    regions: list[Region] = field(default_factory=list)


def read_via(path: Path) -> list[ViaImage]:
    """Read all images of a file.

    Raises:
        UserError: not of VIA 1 or 2, or a damaged region; states its image and position.
    """
    table = path.name.lower().removesuffix(".gz").removesuffix(".zip").endswith(".csv")
    images = list(_of_table(path) if table else _of_json(path))
    if not images:
        raise UserError(f"{path}: lists no image; {_EXPECTED}")
    return images


def _of_json(path: Path) -> Iterator[ViaImage]:
    content = read_json(path, "VIA")
    if isinstance(content, dict) and {"project", "metadata", "view"} <= set(content):
        raise UserError(f"{path}: a project of VIA 3, which is not supported; expected one of VIA 2, or COCO JSON")
    if isinstance(content, dict) and "_via_img_metadata" in content:
        content = content["_via_img_metadata"]
    refuse_foreign(path, content, "via")
    entries = content.values() if isinstance(content, dict) else [None]
    for entry in entries:
        known = entry if isinstance(entry, dict) else {}
        name, regions = known.get("filename"), known.get("regions")
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        if not isinstance(name, str) or not name.strip() or not isinstance(regions, list):
            raise UserError(f"{path}: an entry has no filename and regions; {_EXPECTED}")
        image = ViaImage(path, name, _bytes(str(known.get("size", ""))))
        for number, region in enumerate(regions, start=1):
            parts = region if isinstance(region, dict) else {}
            shape, attributes = parts.get("shape_attributes"), parts.get("region_attributes")
            _add(image, f"region {number} of {name!r}", shape, attributes)
        yield image


def _of_table(path: Path) -> Iterator[ViaImage]:
    lines = csv_rows(path, _AGAIN)
    header = [cell.strip().lower().removeprefix("#") for cell in next(lines)[1]]
    columns = {name: header.index(name) for name in header}
    missing = [name for name in ("filename", "region_shape_attributes", "region_attributes") if name not in columns]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}; {_EXPECTED}")
    images: dict[tuple[str, str], ViaImage] = {}
    for number, cells in lines:
        row = {name: cells[place].strip() if place < len(cells) else "" for name, place in columns.items()}
        if not any(cells):
            continue
        where, name, size = f"row {number}", row["filename"], row.get("file_size", "")
        if not name:
            raise UserError(f"{path}: {where} has no filename; {_EXPECTED}")
        image = images.setdefault((name, size), ViaImage(path, name, _bytes(size)))
        try:
            shape, attributes = (
                json.loads(row[f"region_{kind}"] or "{}") for kind in ("shape_attributes", "attributes")
            )
        except (ValueError, RecursionError):
            raise UserError(f"{path}: {where}: its attributes are not readable; {_AGAIN}") from None
        _add(image, where, shape, attributes)
    yield from images.values()


def _add(image: ViaImage, where: str, shape: Any, attributes: Any) -> None:
    try:
        outline = outline_of(shape)
        if not isinstance(attributes, dict):
            raise ValueError("its region_attributes are not an object")
    except ValueError as error:
        raise UserError(f"{image.source}: {where}: {error}; correct it in VIA, and export again") from None
    if outline is not None:
        image.regions.append(Region(outline, shape["name"], where, attributes))


def _bytes(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None


def chosen_attribute(images: Sequence[ViaImage], attribute: str | None) -> str | None:
    """Return the region attribute that holds the class: the given one, else the only one; None if no region has any.

    Raises:
        UserError: there are several, or the given one does not occur.
    """
    often = Counter(same_name(name) for image in images for region in image.regions for name in region.attributes)
    known = ", ".join(map(repr, often))
    if attribute is not None and same_name(attribute) not in often:
        raise UserError(f"--attribute is {attribute!r}; the regions have {known or 'no attributes'}; choose one")
    if attribute is None and len(often) > 1:
        raise UserError(
            f"{images[0].source}: its regions have the attributes {known}; specify the class with --attribute"
        )
    return same_name(attribute) if attribute is not None else next(iter(often), None)


def class_of(image: ViaImage, region: Region, attribute: str | None) -> str | None:
    """Return the class of a region: a text or the only checked box; None if it has none.

    Raises:
        UserError: several boxes are checked, or another kind of value.
    """
    value: Any = next((v for name, v in region.attributes.items() if same_name(name) == attribute), None)
    if isinstance(value, dict):
        checked = [name for name, on in value.items() if on is True]
        if len(checked) > 1:
            raise UserError(
                f"{image.source}: {region.where}: its {attribute!r} is {' and '.join(map(repr, checked[:4]))}; "
                "expected one class; choose one in VIA, or another --attribute"
            )
        value = next(iter(checked), None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value:g}"
    if value is not None and not isinstance(value, str):
        raise UserError(f"{image.source}: {region.where}: its {attribute!r} is {str(value)[:40]!r}; expected a text")
    name = same_name(value or "").strip()
    return name if name and name != "undefined" else None
