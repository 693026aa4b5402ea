"""Table of findings for a folder of images: areas, density, largest lesion, refused files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from transforms.atomic_write import atomic_file
from transforms.errors import UserError
from transforms.outputs.prediction import FINDINGS, Prediction
from transforms.outputs.regions import Region
from transforms.plain_text import csv_cell
from transforms.vocabulary import concept

FILE = FINDINGS
Row = dict[str, str]


def write_findings(prediction: Prediction) -> None:
    """Put the row of an image into `findings.csv`, in place of an earlier row of the same name."""
    put_row(prediction.folder, findings(prediction), prediction.table)


def put_refused(folder: Path, name: str, reason: str, file: str = FILE) -> None:
    """Put a row for an image that could not be read; its only other column is the reason."""
    put_row(folder, {"name": name, "refused": reason}, file)


def put_row(folder: Path, row: Mapping[str, str], file: str = FILE) -> None:
    """Replace or append a row; the file is written again and renamed, so that a crash loses no other row."""
    row = {csv_cell(key): csv_cell(value) for key, value in row.items()}
    _write(folder / file, [*(other for other in read_rows(folder / file) if other["name"] != row["name"]), row])


def part_file(number: int) -> str:
    """The table of one of several processes that share a folder of images."""
    return f"findings.part-{number}.csv"


def part_files(folder: Path) -> list[Path]:
    """Tables of processes whose rows are not in the common table yet."""
    return sorted(folder.glob("findings.part-*.csv"))


def merge_parts(folder: Path, names: Sequence[str]) -> None:
    """Put the rows of all processes, if there are several, into the common table in the order that one would have them.

    Args:
        names: of the images, in order; rows of others come before theirs.
    """
    parts = part_files(folder)
    if not parts:
        return
    order = {csv_cell(name): number for number, name in enumerate(names)}
    rows = {row["name"]: row for path in (folder / FILE, *parts) for row in read_rows(path)}
    _write(folder / FILE, sorted(rows.values(), key=lambda row: _place(row, order)))
    for path in parts:
        path.unlink()


def _place(row: Row, order: Mapping[str, int]) -> tuple[bool, int]:
    """Those that were refused come last."""
    number = order.get(row["name"], -1)
    return number >= 0 and bool(row.get("refused")), number


def _write(path: Path, rows: Sequence[Row]) -> None:
    fields = list(dict.fromkeys(key for one in rows for key in one))
    fields.sort(key=_LAST.__contains__)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fields, restval="")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[Row]:
    """Rows of the table; none if it does not exist.

    Raises:
        UserError: it is not as it was written, such as after a spreadsheet program has saved it in its own way.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [{key: value for key, value in row.items() if key} for row in csv.DictReader(stream)]
    except (UnicodeDecodeError, csv.Error):
        rows = [{}]
    if not all(row.get("name") for row in rows):
        raise UserError(f"{path}: no longer the table of earlier results, to which rows could be added; move it away")
    return rows


_LAST = ("burned_in", "refused")


def findings(prediction: Prediction) -> Row:
    """The row of one image. Numbers are empty where they are not known; areas are in pixels and mm²."""
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
    """Area of dense tissue in per cent of the breast's area; None where the classes do not tell.

    Dense are fibroglandular classes. The breast is dense and adipose tissue, lesions and calcifications; pectoral
    muscle, skin, nipple, lymph nodes, vessels and all else are not part of it. (As in area-based percent density,
    which leaves out the pectoral muscle: Byng et al., Phys Med Biol 39, 1994.) Both a dense and an adipose class are
    needed: without the latter nothing says where the breast ends.

    Args:
        classes: names, from class 0 on.
        pixels: of each class.
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
    """How many lesions, their scores, and class, box (left, top, width, height), area and score of the largest."""
    largest_keys = ("class", "left", "top", "width", "height", "px", "mm2", "score")
    empty = dict.fromkeys(("lesions", "lesion_scores", *(f"largest_lesion_{key}" for key in largest_keys)), "")
    if not prediction.lesion_classes:
        return empty
    regions = (region for region in prediction.regions[1] if region.label in prediction.lesion_classes)
    found = [region for region in regions if prediction.is_listed(region)]
    if not found:
        return {**empty, "lesions": "0"}
    largest: Region = max(found, key=lambda region: region.pixels)
    return {
        "lesions": str(len(found)),
        "lesion_scores": " ".join(_score(region) for region in sorted(found, key=lambda r: -(r.score or 0))).strip(),
        "largest_lesion_class": prediction.classes[largest.label],
        "largest_lesion_left": str(largest.left),
        "largest_lesion_top": str(largest.top),
        "largest_lesion_width": str(largest.right - largest.left),
        "largest_lesion_height": str(largest.bottom - largest.top),
        "largest_lesion_px": str(largest.pixels),
        "largest_lesion_mm2": _mm2(largest.pixels, prediction.pixel_mm2),
        "largest_lesion_score": _score(largest),
    }


def _score(region: Region) -> str:
    return "" if region.score is None else f"{region.score:.4f}"


def _mm2(pixels: int, pixel_mm2: float | None) -> str:
    return "" if pixel_mm2 is None else f"{pixels * pixel_mm2:.2f}"
