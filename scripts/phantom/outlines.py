"""The masks of a view as the GeoJSON that QuPath writes and reads."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from transforms.outputs.geojson import annotation
from transforms.outputs.regions import find_regions
from transforms.outputs.rings import trace


def feature_collection(masks: Mapping[str, np.ndarray], colors: Mapping[str, tuple[int, int, int]], key: str) -> str:
    """Return GeoJSON text with one annotation per structure, from non-empty masks (H, W); ids derive from `key`."""
    content = {"type": "FeatureCollection", "features": list(_features(masks, colors, key))}
    return json.dumps(content, separators=(",", ":")) + "\n"


def _features(
    masks: Mapping[str, np.ndarray], colors: Mapping[str, tuple[int, int, int]], key: str
) -> Iterator[dict[str, Any]]:
    for name, mask in masks.items():
        polygons = trace(find_regions(mask.astype(np.uint8))[0]).values()
        identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"mammoseg:{key}:{name}"))
        yield {"id": identity, **annotation(name, colors[name], polygons)}
