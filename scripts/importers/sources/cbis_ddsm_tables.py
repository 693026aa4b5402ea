"""The four tables of CBIS-DDSM: regions of interest per image, and the official split.

    {mass,calc}_case_description_{train,test}_set.csv

Source: the tables of The Cancer Imaging Archive, doi 10.7937/K9/TCIA.2016.7O02S9CY. Their three path columns are not
read: they contain outdated file names, end in line breaks, and swap mask and crop in many rows. The folder names follow
from the other columns, in every row of the four tables.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transforms.errors import UserError
from transforms.image_attributes import term
from transforms.reading.find_files import check_there, files_below

TABLES = tuple(f"{kind}_case_description_{part}_set.csv" for kind in ("mass", "calc") for part in ("train", "test"))
_COLUMNS = {
    "patient id": r"P_\d{5}",
    "left or right breast": "LEFT|RIGHT",
    "image view": "CC|MLO",
    "abnormality id": r"\d{1,3}",
    "abnormality type": "mass|calcification",
}
_GROUPED = {"breast density": "density", "assessment": "birads", "pathology": "pathology"}
"""Optional columns and the attribute that each states."""

_PATHOLOGIES = ("", "normal", "benign without callback", "benign", "malignant")  # from best to worst


@dataclass(frozen=True)
class Region:
    """A region of interest, with the properties that an import needs and no personal data.

    Attributes:
        patient: patient id such as "P_00001", the same in all tables.
        side, view: "L" or "R", "CC" or "MLO".
        kind: "mass" or "calcification".
        number: number of the region in its image and table.
        section: "training" or "test", by table.
        density, birads, pathology: in the terms of `transforms.image_attributes`; empty if not stated.
    """

    patient: str
    side: str
    view: str
    kind: str
    number: int
    section: str
    density: str = ""
    birads: str = ""
    pathology: str = ""

    @property
    def image_id(self) -> str:
        """PatientID of the image, which is the name of its folder."""
        kind = "Mass" if self.kind == "mass" else "Calc"
        side = "LEFT" if self.side == "L" else "RIGHT"
        return f"{kind}-{self.section.capitalize()}_{self.patient}_{side}_{self.view}"

    @property
    def region_id(self) -> str:
        """PatientID of the region's mask and crop, which is the name of their folder."""
        return f"{self.image_id}_{self.number}"


def region_attributes(regions: Sequence[Region]) -> dict[str, str]:
    """Return an image's attributes from all its regions: the highest BI-RADS, the worst pathology; DDSM is film."""
    found = {
        "acquisition": "film",
        "density": next((one.density for one in regions if one.density), ""),
        "birads": max((one.birads for one in regions), default=""),
        "pathology": max((one.pathology for one in regions), key=_PATHOLOGIES.index, default=""),
    }
    return {name: text for name, text in found.items() if text}


def read_tables(folder: Path) -> tuple[list[Region], list[str]]:
    """Return all regions, without repetitions, and the names of missing tables.

    Raises:
        UserError: no table exists or has rows, or a row differs from the published form; states file, line and column.
    """
    found = [path for path in files_below(folder) if path.name.lower() in TABLES] if folder.is_dir() else []
    if not found:
        raise UserError(
            f"{folder}: no tables; looked in it and below it for {', '.join(TABLES)}; download them from the archive's "
            "page, and specify their folder with --tables"
        )
    regions = dict.fromkeys(region for path in found for region in _read_table(path))
    if not regions:
        raise UserError(f"{found[0]}: a table without rows; download it again from the archive's page")
    names = {path.name.lower() for path in found}
    return list(regions), [name for name in TABLES if name not in names]


def _read_table(path: Path) -> Iterator[Region]:
    check_there(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            columns = _columns(path, next(reader, []))
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield _region(path, reader.line_num, columns, row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV table ({type(error).__name__}); download it again") from None


def _columns(path: Path, header: Sequence[str]) -> dict[str, int]:
    """Return the index of each column; "breast_density" in one table is "breast density" in another."""
    found = {re.sub(r"[\s_]+", " ", name.strip().lower()): place for place, name in enumerate(header)}
    missing = [name for name in _COLUMNS if name not in found]
    if missing:
        raise UserError(
            f"{path}: has no column {', '.join(missing)}; found {', '.join(found) or 'nothing'}; download the table "
            "again from the archive, with commas between the cells"
        )
    return {name: found[name] for name in (*_COLUMNS, *_GROUPED) if name in found}


def _region(path: Path, line: int, columns: Mapping[str, int], row: Sequence[str]) -> Region:
    cells = {name: row[place].strip() if place < len(row) else "" for name, place in columns.items()}
    groups = {name: term(name, cells.get(column, "").replace("_", " ")) or "" for column, name in _GROUPED.items()}
    for name, pattern in _COLUMNS.items():
        if not re.fullmatch(pattern, cells[name]):
            raise UserError(
                f"{path}: line {line}: {name} is {cells[name][:40]!r}; expected {pattern.replace('|', ' or ')}; "
                "download the table again from the archive"
            )
    return Region(
        patient=cells["patient id"],
        side=cells["left or right breast"][0],
        view=cells["image view"],
        kind=cells["abnormality type"],
        number=int(cells["abnormality id"]),
        section="training" if "_train_" in path.name.lower() else "test",
        density=groups["density"],
        birads=groups["birads"],
        pathology=groups["pathology"] if groups["pathology"] in _PATHOLOGIES else "",
    )
