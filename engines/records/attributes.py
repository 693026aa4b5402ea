"""What images can be grouped by: a few columns of a table, and nothing that tells a person."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engines.records.tables import read_user_csv
from transforms.dataset import SECTIONS, Dataset
from transforms.errors import UserError
from transforms.plain_text import one_line

KEYS = ("case", "subject")
"""Columns that say whose row it is: an image (the stem of its file in images/), or all images of a subject."""

ALLOWED = (
    "view", "laterality", "density", "birads", "machine", "energy", "pathology", "findings", "mass_only", "age",
)  # fmt: skip
"""Columns that are read. Others, which may hold names or dates, are not looked at."""

MOST_VALUES, MOST_CHARACTERS = 12, 40
"""A column of more different values, or of longer ones, is free text or a number, and no group."""

BAND = re.compile(r"\d+\s*[-–]\s*\d+|[<>]=?\s*\d+|\d+\s*\+")
"""An age as it may be given: 40-49, <40, 70+."""

UNKNOWN = ("", "_", "-", "?", "n/a", "na", "none", "nan", "unknown")

Texts = Mapping[str, str]


@dataclass(frozen=True)
class Attributes:
    """Names and values of the images that something is known of.

    Attributes:
        cases: by image.
        subjects: by subject; what is known of the image itself comes first.
        names: of the attributes, in order.
    """

    cases: Mapping[str, Texts] = field(default_factory=dict)
    subjects: Mapping[str, Texts] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def of(self, subject: str, case: str) -> dict[str, str]:
        """Those of an image."""
        return {**self.subjects.get(subject, {}), **self.cases.get(case, {})}

    def over(self, others: Attributes) -> Attributes:
        """These, and from `others` what these do not name."""
        mine = set(self.names)

        def joined(own: Mapping[str, Texts], other: Mapping[str, Texts]) -> dict[str, dict[str, str]]:
            rest = {key: {k: v for k, v in texts.items() if k not in mine} for key, texts in other.items()}
            return {key: {**rest.get(key, {}), **own.get(key, {})} for key in {**rest, **own}}

        names = dict.fromkeys([*self.names, *others.names])
        return Attributes(joined(self.cases, others.cases), joined(self.subjects, others.subjects), tuple(names))


def read_attributes(path: Path) -> Attributes:
    """The attributes in a CSV file with a column `case` or `subject` and some of `ALLOWED`.

    Raises:
        UserError: no such table, a repeated key, or values that are no groups. Rows are named by number, and not what
            they hold.
    """
    where = f"--attributes {one_line(path)}"
    rows = read_user_csv("--attributes", path, "the column case or subject")
    header = list(rows[0]) if rows else []
    key = next((name for name in KEYS if name in header), None)
    names = tuple(name for name in ALLOWED if name in header)
    if key is None or not names:
        raise UserError(
            f"{where}: expected rows with the column case or subject, and one or more of {', '.join(ALLOWED)}; other "
            "columns are not read"
        )
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        ident = (row[key] or "").strip()
        if not any(row.values()):
            continue
        if not ident or ident in found:
            raise UserError(
                f"{where}, row {number}: its {key} is {'given twice' if ident else 'empty'}; give each once"
            )
        texts = {name: (row[name] or "").strip() for name in names}
        found[ident] = {name: text for name, text in texts.items() if text.lower() not in UNKNOWN}
    _check_values(where, found, names)
    return Attributes(found, {}, names) if key == "case" else Attributes({}, found, names)


def check_known(attributes: Attributes, images: Iterable[tuple[str, str]], where: str) -> None:
    """Raise UserError unless something is known of one or more images (subject, case)."""
    pairs = list(images)
    if pairs and not any(attributes.of(subject, case) for subject, case in pairs):
        raise UserError(
            f"--attributes: has no row for any of the {len(pairs)} images of {where}; expected their names in images/ "
            f"under case, such as {one_line(pairs[0][1])}, or subjects such as {one_line(pairs[0][0])}"
        )


def dataset_attributes(data: Dataset) -> Attributes:
    """View and attributes that dataset.json knows of its images."""
    cases = {}
    for item in (item for section in SECTIONS for item in data.content.get(section, [])):
        known = {"view": item.get("view"), **item.get("attributes", {})}
        texts = {name: str(known[name]) for name in ALLOWED if known.get(name)}
        cases[Path(item["image"]).stem] = texts
    return Attributes(cases, {}, tuple(name for name in ALLOWED if any(name in texts for texts in cases.values())))


def _check_values(where: str, found: Mapping[str, Texts], names: tuple[str, ...]) -> None:
    for name in names:
        values = {texts[name] for texts in found.values() if name in texts}
        if len(values) > MOST_VALUES or any(len(value) > MOST_CHARACTERS for value in values):
            raise UserError(
                f"{where}: {name} has {len(values)} different values; expected at most {MOST_VALUES} short ones: group "
                "them, or leave the column out"
            )
        if name == "age" and not all(BAND.fullmatch(value) for value in values):
            raise UserError(f"{where}: age has values that are no bands; expected 40-49, <40 or 70+")
