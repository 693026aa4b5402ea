"""The two tables of CDD-CESM: image attributes, and outlines.

    Radiology-manual-annotations.xlsx (or .csv)        one row per image; in the workbook, the sheet "all"
    Radiology_hand_drawn_segmentations_v2.csv          one row per outline, exported by the VGG Image Annotator

Names occur with stray spaces ("P1_L_DM_MLO .jpg") and in several spellings ("_MLO2" and "_MLO_2" for a second image of
the same view); both tables and the files are joined by the parsed name.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.importers.sources.csv_rows import csv_rows
from scripts.importers.sources.via_outlines import Outline, parse_outline
from transforms.errors import UserError
from transforms.reading.limits import ANNOTATION_BYTES, TABLE_COLUMNS, TABLE_ROWS

COLLECTION = "doi.org/10.7937/29kw-ae92"
_AGAIN = f"download it again from {COLLECTION}"
_NAME = re.compile(r"p(\d{1,9})_([lr])_(dm|cm)_([a-z]+?)[_ ]*(\d{0,9})")
_SUFFIX = re.compile(r"\s*\.(jpe?g|png|tiff?)\s*$", re.IGNORECASE)
_ANNOTATIONS = re.compile(r"radiology[-_ ]*manual[-_ ]*annotations?.*\.(csv|xlsx)", re.IGNORECASE)
_OUTLINES = re.compile(r"radiology[-_ ]*hand[-_ ]*drawn[-_ ]*segmentations?.*\.csv", re.IGNORECASE)
_SHEET = "all"
# column in the form of `_key`: whether the import requires it
_COLUMNS = {
    "image name": True,
    "patient id": False,
    "side": False,
    "view": False,
    "age": False,
    "breast density (acr)": False,
    "birads": False,
    "findings": True,
    "tags": True,
    "machine": False,
    "pathology classification/ follow up": True,
}
_VIA_COLUMNS = ("#filename", "region_shape_attributes")


@dataclass(frozen=True, order=True)
class ImageId:
    """Properties stated by the name of an image.

    Attributes:
        woman: the woman's id such as "P1".
        side: "L" or "R".
        energy: "low" (DM in the name) or "subtracted" (CM).
        view: "CC" or "MLO".
        number: 1, or 2 for a second image of the same view.
    """

    woman: str
    side: str
    energy: str
    view: str
    number: int = 1

    @classmethod
    def parse(cls, name: str) -> ImageId | None:
        """Parse a file name or a name in a table; return None if it does not have the release's form."""
        found = _NAME.fullmatch(_SUFFIX.sub("", name).strip().lower())
        if not found:
            return None
        number, side, kind, view, repeat = found.groups()
        energy = "low" if kind == "dm" else "subtracted"
        return cls(f"P{int(number)}", side.upper(), energy, view.upper(), int(repeat or 1))


@dataclass(frozen=True)
class Row:
    """A table row of an image: unchanged texts without surrounding spaces."""

    pathology: str
    findings: str
    tags: str
    density: str = ""
    birads: str = ""
    age: str = ""
    machine: str = ""


@dataclass
class Tables:
    """Both tables by image.

    Attributes:
        rows: row of each image.
        outlines: outlines of each image that has any.
        sizes: size in bytes of each file on which outlines were drawn.
        remarks: text to count.
    """

    rows: dict[ImageId, Row] = field(default_factory=dict)
    outlines: dict[ImageId, list[Outline]] = field(default_factory=dict)
    sizes: dict[ImageId, int] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)

    def remark(self, text: str) -> None:
        self.remarks[text] = self.remarks.get(text, 0) + 1


def read_tables(folder: Path) -> Tables:
    """Read both tables from anywhere below a folder.

    Raises:
        UserError: a table is missing, exists twice, lacks a column, or has a damaged row.
    """
    tables = Tables()
    _read_annotations(_find(folder, _ANNOTATIONS, "Radiology-manual-annotations.csv or .xlsx"), tables)
    _read_outlines(_find(folder, _OUTLINES, "Radiology_hand_drawn_segmentations_v2.csv"), tables)
    return tables


def _find(folder: Path, pattern: re.Pattern[str], name: str) -> Path:
    """Return the table; prefer a CSV file to a workbook, and a version "_v2" to one without."""
    found = sorted(folder.rglob("*")) if folder.is_dir() else []
    found = [path for path in found if pattern.fullmatch(path.name) and path.is_file()]
    if not found:
        raise UserError(
            f"{folder}: no table {name} in it or below it; download it from {COLLECTION}, and specify its folder with "
            "--tables"
        )
    kind = {path.suffix.lower() for path in found}
    if len(kind) > 1:
        found = [path for path in found if path.suffix.lower() == ".csv"]
    newest = max(_version(path) for path in found)
    found = [path for path in found if _version(path) == newest]
    if len({path.read_bytes() for path in found}) > 1:
        raise UserError(f"{found[0]}: differs from {found[1]}; specify the folder of the right one with --tables")
    return found[0]


def _version(path: Path) -> int:
    found = re.search(r"_v(\d{1,9})", path.stem.lower())
    return int(found[1]) if found else 1


def _read_annotations(path: Path, tables: Tables) -> None:
    lines = _workbook(path) if path.suffix.lower() == ".xlsx" else csv_rows(path, _AGAIN)
    columns = _columns(path, next(lines)[1], [name for name, needed in _COLUMNS.items() if needed])
    for number, cells in lines:
        row = {name: cells[place].strip() if place < len(cells) else "" for name, place in columns.items()}
        if not any(cells):
            continue
        image = ImageId.parse(row["image name"])
        if image is None:
            tables.remark("rows of the annotations name no image in the release's form, and were skipped")
            continue
        made = Row(
            pathology=row["pathology classification/ follow up"].lower(),
            findings=row["findings"],
            tags=row["tags"],
            density=row.get("breast density (acr)", ""),
            birads=row.get("birads", ""),
            age=row.get("age", ""),
            machine=row.get("machine", ""),
        )
        if tables.rows.setdefault(image, made) != made:
            raise UserError(
                f"{path}: row {number}: {row['image name']!r} is repeated with different content; remove one"
            )
        if _disagrees(row, image):
            tables.remark("rows state another woman, side or view than the name of their image, which was used")


def _disagrees(row: Mapping[str, str], image: ImageId) -> bool:
    stated = (row.get("patient id", "").upper(), row.get("side", "").upper(), row.get("view", "").upper())
    meant = (f"P?0*{image.woman[1:]}", f"{image.side}(EFT|IGHT)?", f"{image.view}.*")
    return any(text and not re.fullmatch(form, text) for text, form in zip(stated, meant, strict=True))


def _read_outlines(path: Path, tables: Tables) -> None:
    lines = csv_rows(path, _AGAIN)
    columns = _columns(path, next(lines)[1], _VIA_COLUMNS)
    for number, cells in lines:
        row = {name: cells[place].strip() if place < len(cells) else "" for name, place in columns.items()}
        if not any(cells):
            continue
        image = ImageId.parse(row["#filename"])
        if image is None:
            tables.remark("outlines name no image in the release's form, and were skipped")
            continue
        try:
            outline = parse_outline(row["region_shape_attributes"])
        except ValueError as error:
            raise UserError(
                f"{path}: row {number}: an outline cannot be read: {error}; download the table again"
            ) from None
        if outline is not None:
            tables.outlines.setdefault(image, []).append(outline)
        if re.fullmatch(r"\d{1,18}", row.get("file_size", "")):
            tables.sizes[image] = int(row["file_size"])


def _columns(path: Path, header: Sequence[str], needed: Sequence[str]) -> dict[str, int]:
    """Return the index of each column."""
    found: dict[str, int] = {}
    for place, name in enumerate(header):
        found.setdefault(_key(name), place)
    missing = [name for name in needed if _key(name) not in found]
    if missing:
        raise UserError(
            f"{path}: has no column {', '.join(missing)}; found {', '.join(filter(None, found)) or 'nothing'}; "
            f"download the table again from {COLLECTION}"
        )
    return {name: found[_key(name)] for name in {*_COLUMNS, *needed, "file_size"} if _key(name) in found}


def _key(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name.strip().lower())


def _workbook(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number, cells) of the sheet "all", else of the first."""
    try:
        import openpyxl
    except ImportError:
        raise UserError(
            f"{path}: reading a workbook needs openpyxl, which is not installed; install it (pip install openpyxl), or "
            f"save the sheet {_SHEET!r} as Radiology-manual-annotations.csv beside it"
        ) from None
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > ANNOTATION_BYTES:
            raise ValueError(f"unpacks to {size} bytes")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheet = next((sheet for sheet in book.worksheets if _key(sheet.title) == _SHEET), book.worksheets[0])
        cells = sheet.iter_rows(max_row=TABLE_ROWS, max_col=TABLE_COLUMNS, values_only=True)  # read only now
        rows = [[_text(cell) for cell in row] for row in cells]
        book.close()
    except Exception as error:  # raised by zipfile, xml or openpyxl on damaged files
        raise UserError(
            f"{path}: not a workbook that can be read ({type(error).__name__}); download it again"
        ) from None
    if len(rows) == TABLE_ROWS:
        raise UserError(f"{path}: has {TABLE_ROWS} rows or more; download it again")
    yield from enumerate(rows or [[]], start=1)


def _text(cell: Any) -> str:
    """Return a cell as in a CSV export: 46.0 is "46"."""
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
