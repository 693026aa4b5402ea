"""Read the annotations of a QuPath GeoJSON file, written by any version since 0.2.

Source: qupath-core's QuPathTypeAdapters and ROITypeAdapters (github.com/qupath/qupath), its docs page "Exporting
annotations", and RFC 7946. Differences between versions: a FeatureCollection, a bare list or a single
Feature; the kind of object in `id`, `object_type` or `objectType`; the class as text, `name` or `names`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.importers.labels.foreign import refuse_foreign
from scripts.importers.labels.polygon_fill import Ring
from transforms.errors import UserError
from transforms.plain_text import same_name
from transforms.reading.annotation_text import annotation_text

UNCLASSIFIED = "unclassified"
_NOT_ANNOTATIONS = {"root", "tmacore", "pathrootobject", "tmacoreobject"}


@dataclass
class Annotations:
    """Content of one file.

    Attributes:
        areas: (class name, polygons); a polygon is a list of rings, the first of which is its outline.
        skipped: number of skipped features, by reason.
    """

    areas: list[tuple[str, list[list[Ring]]]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)


def read_annotations(path: Path, known: Collection[str] = ()) -> Annotations:
    """Read areas with a class; features without one, and points and lines, are counted.

    Args:
        path: the file, also compressed, see `annotation_text`.
        known: class names; if "unclassified" is among them, it is the class of areas without one.

    Raises:
        UserError: not GeoJSON, a geometry that does not match its type (states the file and the feature's position), or
            areas of which none has a class.
    """
    text = annotation_text(path)
    try:
        features = _features(path, json.loads(text.decode("utf-8-sig")))
    except UserError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(
            f"{path}: not readable as GeoJSON ({type(error).__name__}); export it again from QuPath with "
            "File > Export objects as GeoJSON"
        ) from None
    found = Annotations()
    for number, feature in enumerate(features, start=1):
        try:
            reason = _add(found, feature, UNCLASSIFIED if UNCLASSIFIED in known else None)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError):
            raise UserError(
                f"{path}: feature {number} is not a valid GeoJSON polygon; delete or redraw it, and export again"
            ) from None
        if reason:
            found.skipped[reason] = found.skipped.get(reason, 0) + 1
    if not found.areas and found.skipped.get(UNCLASSIFIED):
        raise UserError(
            f"{path}: none of its {found.skipped[UNCLASSIFIED]} annotated areas has a class; set their classes in "
            f'QuPath and export again, or specify their class with --merge "{UNCLASSIFIED}=background"'
        )
    return found


def _features(path: Path, content: Any) -> list[dict[str, Any]]:
    """Return the features of any container that QuPath reads: a collection, a (nested) list, a feature, a geometry."""
    if isinstance(content, list):
        return [feature for part in content for feature in _features(path, part)]
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "FeatureCollection" and isinstance(content.get("features"), list):
        return _features(path, content["features"])
    if kind == "Feature":
        properties = content.get("properties")
        children = properties.get("childObjects") if isinstance(properties, dict) else None
        return [content, *(_features(path, children) if isinstance(children, list) else [])]
    if kind in ("Polygon", "MultiPolygon", "Point", "MultiPoint", "LineString", "MultiLineString"):
        return [{"type": "Feature", "geometry": content, "properties": {}}]
    refuse_foreign(path, content, "qupath")
    raise UserError(
        f"{path}: holds no GeoJSON features (found {kind or type(content).__name__}); expected a FeatureCollection "
        "exported from QuPath"
    )


def _add(found: Annotations, feature: dict[str, Any], default: str | None) -> str | None:
    """Add one feature, of the class `default` if it has none; or return the reason for skipping it."""
    properties = feature.get("properties") or {}
    kind = properties.get("objectType") or properties.get("object_type") or feature.get("id") or "annotation"
    if str(kind).lower() in _NOT_ANNOTATIONS:
        return "not an annotation"
    geometry = feature.get("geometry") or {}
    if geometry.get("type") not in ("Polygon", "MultiPolygon"):
        kinds = {None: "without geometry", "GeometryCollection": "collection of geometries"}
        return kinds.get(geometry.get("type"), "point or line")
    name = class_name(properties.get("classification")) or default
    if name is None:
        return UNCLASSIFIED
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    found.areas.append((name, [[_ring(ring) for ring in rings] for rings in polygons]))
    return None


def _ring(points: Any) -> Ring:
    ring = np.array([(float(point[0]), float(point[1])) for point in points], dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(ring).all() or np.abs(ring).max(initial=0) > 1e7:
        raise ValueError("coordinate out of range")
    return ring


def class_name(classification: Any) -> str | None:
    """Return the class of an annotation: text, {"name": …}, or {"names": ["A", "B"]}, shown in QuPath as "A: B"."""
    if isinstance(classification, dict):
        names = classification.get("names")
        classification = ": ".join(map(str, names)) if names else classification.get("name")
    name = same_name(str(classification)).strip() if classification is not None else ""
    return name if name and name.lower() not in ("unclassified", "null") else None
