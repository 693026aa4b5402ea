"""Row of an image in the table of findings: areas, density, largest lesion."""

from __future__ import annotations

import numpy as np

from transforms.outputs.findings_table import Row, put_row
from transforms.outputs.found_lesions import FoundLesion
from transforms.outputs.prediction import Prediction
from transforms.vocabulary import concept


def write_findings(prediction: Prediction) -> None:
    """Write the row of an image to `findings.csv`, replacing an earlier row of the same name."""
    put_row(prediction.folder, findings(prediction), prediction.table)


def findings(prediction: Prediction) -> Row:
    """The row of one image. Unknown numbers are empty; areas are in pixels and mm²."""
    facts, spacing = prediction.facts, prediction.spacing_mm
    rows, columns = prediction.label.shape
    pixels = np.bincount(prediction.label.ravel(), minlength=len(prediction.classes))
    row = {
        "name": prediction.name,
        "laterality": facts.get("laterality", ""),
        "view": facts.get("view", ""),
        "rows": str(rows),
        "columns": str(columns),
        "row_spacing_mm": "" if spacing is None else f"{spacing[0]:.6g}",
        "column_spacing_mm": "" if spacing is None else f"{spacing[1]:.6g}",
        "spacing_source": facts.get("spacing_source", ""),
    }
    for number, name in enumerate(prediction.classes[1:], start=1):
        row[f"{name}_px"] = str(int(pixels[number]))
        row[f"{name}_mm2"] = _mm2(int(pixels[number]), prediction.pixel_mm2)
    density = density_percent(prediction.classes, pixels.tolist())
    row["density_percent"] = "" if density is None else f"{density:.2f}"
    return {**row, **_lesions(prediction), "burned_in": facts.get("burned_in", ""), "refused": ""}


def density_percent(classes: tuple[str, ...], pixels: list[int]) -> float | None:
    """Area of dense tissue in percent of the breast area; None if the classes do not define it.

    Fibroglandular classes are dense. The breast consists of dense and adipose tissue, lesions and calcifications;
    pectoral muscle, skin, nipple, lymph nodes, vessels and other classes are excluded. (As in area-based percent
    density, which excludes the pectoral muscle: Byng et al., Phys Med Biol 39, 1994.) Both a dense and an adipose class
    are required: without the latter, the extent of the breast is unknown.

    Args:
        classes: class names, from class 0 on.
        pixels: number of pixels of each class.
    """
    roles = [concept(name).role for name in classes[1:]]
    if not {"dense", "fatty"} <= set(roles):
        return None
    area = dict.fromkeys(("dense", "fatty", "lesion", "finding", "other"), 0)
    for role, count in zip(roles, pixels[1:], strict=True):
        area[role] += count
    breast = sum(area.values()) - area["other"]
    return 100 * area["dense"] / breast if breast else None


def _lesions(prediction: Prediction) -> Row:
    """Number of lesions, their scores, and class, box (left, top, width, height), area and score of the largest."""
    largest_keys = ("class", "left", "top", "width", "height", "px", "mm2", "score")
    empty = dict.fromkeys(("lesions", "lesion_scores", *(f"largest_lesion_{key}" for key in largest_keys)), "")
    if not prediction.lesion_classes:
        return empty
    found = prediction.found_lesions
    if not found:
        return {**empty, "lesions": "0"}
    largest = max(found, key=lambda lesion: lesion.pixels)
    top, left, bottom, right = largest.box
    return {
        "lesions": str(len(found)),
        "lesion_scores": " ".join(_score(lesion) for lesion in found).strip(),
        "largest_lesion_class": prediction.classes[largest.label],
        "largest_lesion_left": str(left),
        "largest_lesion_top": str(top),
        "largest_lesion_width": str(right - left),
        "largest_lesion_height": str(bottom - top),
        "largest_lesion_px": str(largest.pixels),
        "largest_lesion_mm2": _mm2(largest.pixels, prediction.pixel_mm2),
        "largest_lesion_score": _score(largest),
    }


def _score(lesion: FoundLesion) -> str:
    return "" if lesion.score is None else f"{lesion.score:.4f}"


def _mm2(pixels: int, pixel_mm2: float | None) -> str:
    return "" if pixel_mm2 is None else f"{pixels * pixel_mm2:.2f}"
