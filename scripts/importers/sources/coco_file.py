"""Read COCO instances JSON: images, categories, and annotations as polygons or run-length encoded masks.

Source: cocodataset.org, "Data format": `segmentation` is a list of polygons [x1, y1, x2, y2, …] that together form the
object (without holes), or an object {"size", "counts"}; `iscrowd` 1 marks a group of objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.importers.labels.foreign import refuse_foreign
from scripts.importers.sources.annotation_json import read_json
from scripts.importers.sources.coco_runs import parse_runs
from scripts.importers.sources.listed_images import ListedImage
from scripts.importers.sources.via_outlines import Drawable, Polygon, numbers
from transforms.errors import UserError
from transforms.plain_text import same_name

_FOUND = "expected COCO instances JSON with images, annotations and categories"


@dataclass
class CocoFile:
    """Content of one file.

    Attributes:
        categories: names in the order of their ids.
        images: the images with their regions.
        skipped: reason to count.
    """

    categories: list[str]
    images: list[ListedImage]
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass
class _Image:
    name: str
    size: tuple[int, int] | None
    shapes: list[tuple[str | None, Drawable]] = field(default_factory=list)
    ignored: list[Drawable] = field(default_factory=list)


def read_coco(path: Path, crowd: str = "class") -> CocoFile:
    """Read the images of one file.

    Args:
        crowd: treatment of groups of objects (`iscrowd`): "class", like any other annotation, or "ignore".

    Raises:
        UserError: not COCO, or an entry is damaged or has a dangling reference; states its position.
    """
    content = read_json(path, "COCO")
    lists = [content.get(key) if isinstance(content, dict) else None for key in ("images", "annotations", "categories")]
    if not all(isinstance(one, list) for one in lists):
        refuse_foreign(path, content, "coco")
        keys = ", ".join(map(str, list(content)[:8])) if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{path}: holds {keys or 'nothing'}; {_FOUND}")
    images = dict(_each(path, "image", lists[0], _image))
    names = dict(_each(path, "category", lists[2], lambda entry: same_name(_text(entry, "name")).strip()))
    skipped: Counter[str] = Counter()
    for number, entry in enumerate(lists[1] or [], start=1):
        try:
            _add(entry, images, names, crowd, skipped)
        except ValueError as error:
            raise UserError(f"{path}: annotation {number}: {error}; correct it, or export the file again") from None
    boxes = skipped[BOXES]
    if boxes and not any(one.shapes or one.ignored for one in images.values()):
        raise UserError(f"{path}: its {boxes} annotations are boxes without an outline; {_FOUND} with segmentation")
    made = [ListedImage(path, one.name, tuple(one.shapes), tuple(one.ignored), one.size) for one in images.values()]
    order = sorted(names, key=lambda key: (isinstance(key, str), key))
    return CocoFile(list(dict.fromkeys(names[key] for key in order)), made, skipped)


BOXES = "annotations have a box and no outline, and were skipped"


def _each(path: Path, what: str, entries: Any, make: Any) -> Iterator[tuple[int | str, Any]]:
    """Yield (id, result of `make`) for each entry."""
    seen: set[int | str] = set()
    for number, entry in enumerate(entries, start=1):
        try:
            key = _id(entry, "id")
            if key in seen:
                raise ValueError(f"its id {key!r} is repeated")
            seen.add(key)
            yield key, make(entry)
        except ValueError as error:
            raise UserError(f"{path}: {what} {number}: {error}; {_FOUND}") from None


def _image(entry: dict[str, Any]) -> _Image:
    size = (entry.get("height"), entry.get("width"))
    if size == (None, None):
        return _Image(_text(entry, "file_name"), None)
    rows, columns = (_whole(one, "height or width") for one in size)
    return _Image(_text(entry, "file_name"), (rows, columns))


def _add(
    entry: Any,
    images: dict[int | str, _Image],
    names: dict[int | str, str],
    crowd: str,
    skipped: Counter[str],
) -> None:
    """Add one annotation to its image, or count the reason for skipping it."""
    image_id, category = _id(entry, "image_id"), _id(entry, "category_id")
    if image_id not in images:
        raise ValueError(f"its image_id {image_id!r} belongs to no image")
    if category not in names:
        raise ValueError(f"its category_id {category!r} belongs to no category")
    image, group = images[image_id], entry.get("iscrowd", 0)
    if group not in (0, 1):
        raise ValueError(f"its iscrowd is {str(group)[:20]!r}; expected 0 or 1")
    regions = _regions(entry, image.size, skipped)
    if group and crowd == "ignore":
        image.ignored += regions
    else:
        image.shapes += [(names[category], region) for region in regions]


def _regions(entry: dict[str, Any], size: tuple[int, int] | None, skipped: Counter[str]) -> list[Drawable]:
    segmentation = entry.get("segmentation")
    if not segmentation:
        skipped[BOXES if entry.get("bbox") else "annotations have no outline, and were skipped"] += 1
        return []
    if isinstance(segmentation, dict):
        runs = parse_runs(segmentation)
        if runs is None:
            skipped["masks hold no pixel, and were skipped"] += 1
            return []
        if size and runs.size != size:
            raise ValueError(
                f"its mask is {runs.size[0]} x {runs.size[1]} (rows x columns), its image {size[0]} x {size[1]}"
            )
        return [runs]
    if not isinstance(segmentation, list):
        raise ValueError(f"its segmentation is a {type(segmentation).__name__}; expected polygons or runs")
    regions: list[Drawable] = []
    for polygon in segmentation:
        points = numbers({"polygon": polygon}, "polygon")
        if len(points) % 2:
            raise ValueError(f"its polygon has {len(points)} numbers; expected x and y of each point")
        if len(points) < 6:
            skipped["polygons have fewer than three points, and were skipped"] += 1
        else:
            regions.append(Polygon(tuple(zip(points[::2], points[1::2], strict=True))))
    return regions


def _id(entry: Any, key: str) -> int | str:
    value = entry.get(key) if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"its {key} is {str(value)[:20]!r}; expected a number")
    return value


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        raise ValueError(f"its {what} is {str(value)[:20]!r}; expected a number of pixels")
    return value


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"its {key} is {str(value)[:20]!r}; expected a text")
    return value
