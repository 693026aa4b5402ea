"""Segmentations as annotations for QuPath.

Source: qupath-core's QuPathTypeAdapters and ROITypeAdapters (github.com/qupath/qupath): coordinates are pixel edges of
the full-resolution image, rings are closed, a class has a name and a color (QuPath does not open a name alone).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from transforms.atomic_write import atomic_file
from transforms.outputs.prediction import Prediction
from transforms.outputs.regions import Region
from transforms.outputs.rings import Ring, trace
from transforms.palette import PALETTE
from transforms.vocabulary import concept

ENDING = ".geojson"
MAKER = {"generator": "mammoseg"}
"""Mark that a file drawn or corrected by the user lacks; such a file is not overwritten."""


def write_geojson(prediction: Prediction) -> None:
    """Write `<name>.geojson`, from which `scripts.prepare qupath` restores the same label map.

    A class is one annotation, a MultiPolygon; each lesion (its pixels of one class) and each calcification
    (`transforms.vocabulary`) is an annotation of its own, so that it can be judged, measured and deleted individually.
    Background is not written.
    """
    content = {"type": "FeatureCollection", **MAKER, "features": list(features(prediction))}
    with atomic_file(prediction.path(ENDING)) as part:
        part.write_text(json.dumps(content, separators=(",", ":"), ensure_ascii=False), encoding="utf-8")


def drawn_by_hand(path: Path) -> bool:
    """Whether `path` is a file that was not written here, or was saved by another program since."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as stream:
        return json.dumps(MAKER, separators=(",", ":"))[1:-1] not in stream.read(200)


def features(prediction: Prediction) -> Iterator[dict[str, Any]]:
    """The GeoJSON features, class by class."""
    numbered, regions = prediction.regions
    rings = trace(numbered)
    by_class: dict[int, list[Region]] = {}
    for region in regions:
        by_class.setdefault(region.label, []).append(region)
    for label, members in sorted(by_class.items()):
        members = [region for region in members if prediction.is_listed(region)]
        if not members:
            continue
        apart = concept(prediction.classes[label]).role in ("lesion", "finding") or label in prediction.lesion_classes
        for group in _each_lesion(members) if apart else [members]:
            yield _feature(prediction, label, group, [rings[region.number] for region in group])


def _each_lesion(regions: list[Region]) -> list[list[Region]]:
    """Group the regions of a class by lesion; a region that belongs to none is alone."""
    groups: dict[int, list[Region]] = {}
    for region in regions:
        groups.setdefault(region.lesion or -region.number, []).append(region)
    return list(groups.values())


def _feature(prediction: Prediction, label: int, group: list[Region], polygons: list[list[Ring]]) -> dict[str, Any]:
    feature = annotation(prediction.classes[label], PALETTE[label % len(PALETTE)], polygons)
    feature["properties"]["measurements"] = _measurements(group, prediction.pixel_mm2)
    return feature


def annotation(name: str, color: tuple[int, int, int], polygons: Iterable[list[Ring]]) -> dict[str, Any]:
    """A QuPath annotation of one class, from the rings of its regions as returned by `trace`."""
    coordinates = [[_closed(ring) for ring in rings] for rings in polygons]
    geometry = (
        {"type": "Polygon", "coordinates": coordinates[0]}
        if len(coordinates) == 1
        else {"type": "MultiPolygon", "coordinates": coordinates}
    )
    properties = {"objectType": "annotation", "classification": {"name": name, "color": list(color)}}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _closed(ring: Ring) -> list[list[int]]:
    return [[x, y] for x, y in (*ring, ring[0])]


def _measurements(group: list[Region], pixel_mm2: float | None) -> dict[str, float]:
    """Area in mm², or in pixels if the spacing is unknown; mean probability and a lesion's score if known."""
    pixels = sum(region.pixels for region in group)
    found: dict[str, float] = {"Predicted area px": pixels}
    if pixel_mm2 is not None:
        found = {"Predicted area mm^2": round(pixels * pixel_mm2, 4)}
    known = [(region.probability, region.pixels) for region in group if region.probability is not None]
    if known:
        found["Mean probability"] = round(sum(p * n for p, n in known) / pixels, 4)
    scores = [region.score for region in group if region.score is not None]
    if scores:
        found["Score"] = round(max(scores), 4)
    return found
