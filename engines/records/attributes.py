"""Attributes for grouping images: a few columns of a table, nothing that identifies a person."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engines.records.tables import read_user_csv
from transforms.dataset import SECTIONS, Dataset, case_of
from transforms.errors import UserError
from transforms.image_attributes import CHECKS, expected, term
from transforms.plain_text import one_line

KEYS = ("case", "subject")
"""Key columns of a row: an image (the stem of its file in images/), or a subject with all its images."""

ALLOWED = tuple(CHECKS)
"""Columns that are always read. Others, which may hold names or dates, are read only on request."""

MOST_VALUES = 12
"""Maximum number of different values in a column for grouping."""

UNKNOWN = ("", "_", "-", "?", "n/a", "na", "none", "nan", "unknown")

Texts = Mapping[str, str]


@dataclass(frozen=True)
class Attributes:
    """Known attributes of images.

    Attributes:
        cases: values by image.
        subjects: values by subject; those of the image itself take precedence.
        names: names of the attributes, in order.
    """

    cases: Mapping[str, Texts] = field(default_factory=dict)
    subjects: Mapping[str, Texts] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def of(self, subject: str, case: str) -> dict[str, str]:
        """Return the attributes of an image."""
        return {**self.subjects.get(subject, {}), **self.cases.get(case, {})}

    def over(self, others: Attributes) -> Attributes:
        """Return these attributes, completed by those of `others` with other names."""
        mine = set(self.names)

        def joined(own: Mapping[str, Texts], other: Mapping[str, Texts]) -> dict[str, dict[str, str]]:
            rest = {key: {k: v for k, v in texts.items() if k not in mine} for key, texts in other.items()}
            return {key: {**rest.get(key, {}), **own.get(key, {})} for key in {**rest, **own}}

        names = dict.fromkeys([*self.names, *others.names])
        return Attributes(joined(self.cases, others.cases), joined(self.subjects, others.subjects), tuple(names))

    def only(self, names: Sequence[str]) -> Attributes:
        """Return only these attributes, in this order."""
        return replace(self, names=tuple(names))


def read_attributes(path: Path, more: Sequence[str] = ()) -> Attributes:
    """Return the attributes in a CSV file with a column `case` or `subject` and some of `ALLOWED`.

    Args:
        path: the file.
        more: columns requested by name; those that are not in `ALLOWED` hold codes.

    Raises:
        UserError: not such a table, a repeated key, or a value that is not one of an attribute's terms. The message
            names the row number but not its content.
    """
    where = f"--attributes {one_line(path)}"
    rows = read_user_csv("--attributes", path, "the column case or subject")
    header = list(rows[0]) if rows else []
    key = next((name for name in KEYS if name in header), None)
    own = [name for name in more if name in header and name not in KEYS and re.fullmatch(r"\w[\w ]{0,31}", name)]
    names = tuple(name for name in dict.fromkeys([*ALLOWED, *own]) if name in header)
    if key is None or not names:
        raise UserError(
            f"{where}: expected rows with the column case or subject, and one or more of {', '.join(ALLOWED)}; other "
            "columns are only read if --by names them"
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
        found[ident] = _terms(f"{where}, row {number}", row, names)
    for name in names:
        count = len({texts[name] for texts in found.values() if name in texts})
        if count > MOST_VALUES:
            raise UserError(
                f"{where}: {name} has {count} different values; expected at most {MOST_VALUES}: group them, or leave "
                "the column out"
            )
    return Attributes(found, {}, names) if key == "case" else Attributes({}, found, names)


def check_known(attributes: Attributes, images: Iterable[tuple[str, str]], where: str) -> None:
    """Raise UserError unless attributes of at least one image (subject, case) are known."""
    pairs = list(images)
    if pairs and not any(attributes.of(subject, case) for subject, case in pairs):
        raise UserError(
            f"--attributes: has no row for any of the {len(pairs)} images of {where}; expected their names in images/ "
            f"under case, such as {one_line(pairs[0][1])}, or subjects such as {one_line(pairs[0][0])}"
        )


def dataset_attributes(data: Dataset) -> Attributes:
    """Return view, side and attributes of images from dataset.json; values that are not valid terms are omitted."""
    cases = {}
    for item in (item for section in SECTIONS for item in data.content.get(section, [])):
        known = {"view": item.get("view"), "laterality": item.get("laterality"), **item.get("attributes", {})}
        cases[case_of(item["image"])] = kept_terms(known)
    given = dict.fromkeys([*ALLOWED, *(name for texts in cases.values() for name in texts)])
    return Attributes(cases, {}, tuple(name for name in given if any(name in texts for texts in cases.values())))


def kept_terms(known: Mapping[str, Any]) -> dict[str, str]:
    """Return attributes as they are kept; values that are not valid terms are omitted."""
    texts = {name: term(name, text) for name, text in known.items() if isinstance(text, str)}
    return {name: text for name, text in texts.items() if text}


def _terms(where: str, row: Mapping[str, str | None], names: Sequence[str]) -> dict[str, str]:
    """Return the values of one row as they are kept."""
    texts = {}
    for name in names:
        text = (row[name] or "").strip()
        if text.lower() in UNKNOWN:
            continue
        kept = term(name, text)
        if kept is None:
            raise UserError(
                f"{where}: its {one_line(name)} is not one of the permitted values, since others may identify a "
                f"person; expected {expected(name)}; correct it, or leave the column out"
            )
        texts[name] = kept
    return texts
