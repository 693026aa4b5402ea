"""User-defined split: the section or fold of each subject or image, from a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engines.records.tables import read_csv
from scripts.importers.import_options import ImportOptions
from scripts.importers.writing.cases import Case
from transforms.dataset import SECTIONS
from transforms.errors import UserError
from transforms.plain_text import one_line, same_name
from transforms.reading.names import stem

KEYS, VALUES = ("subject", "image"), ("section", "fold")
SHORT = {"train": "training", "val": "validation", "valid": "validation", "testing": "test"}
VALIDATED_FOLD = 1
"""The fold that becomes the validation section; `scripts.crossval --folds_file` validates on each fold in turn."""


@dataclass(frozen=True)
class GivenSplit:
    """Rows of the file: name of a subject or image → section or fold number.

    Attributes:
        key: "subject" or "image".
        folds: whether the values are folds; "test" may be among them.
    """

    path: Path
    key: str
    folds: bool
    values: Mapping[str, str]

    def value(self, case: Case) -> str:
        """Return the section or fold of a case.

        Raises:
            UserError: the case has no row.
        """
        for name in self._names(case):
            if name in self.values:
                return self.values[name]
        raise UserError(
            f"--split {one_line(self.path)}: no row for the {self.key} of {case.source}; expected one row each"
        )

    def section(self, case: Case) -> str:
        """Return the section of a case."""
        value = self.value(case)
        if self.folds and value != "test":
            return "validation" if int(value) == VALIDATED_FOLD else "training"
        return value

    def _names(self, case: Case) -> list[str]:
        if self.key == "image":
            return [same_name(case.source.name), same_name(stem(case.source))]
        return [same_name(case.subject), same_name(case.subject.partition(":")[2])]


def read_split(path: Path) -> GivenSplit:
    """Read a CSV file with the columns subject or image, and section or fold; other columns are ignored.

    Raises:
        UserError: no such table, a repeated name, or an unknown value. Messages state row numbers, since names may be
            personal data.
    """
    where = f"--split {one_line(path)}"
    expected = "expected a CSV file with the columns subject (or image) and section (or fold)"
    if not path.is_file():
        raise UserError(f"{where}: no such file; {expected}")
    try:
        rows = read_csv(path)
    except (OSError, csv.Error) as error:
        raise UserError(f"{where}: cannot be read ({one_line(str(error))}); {expected}") from None
    columns = rows[0].keys() if rows else ()
    key, value = (next((name for name in names if name in columns), None) for names in (KEYS, VALUES))
    if key is None or value is None:
        raise UserError(f"{where}: has no such columns; {expected}")
    values: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        name, text = (same_name((row[column] or "").strip()) for column in (key, value))
        if not any(row.values()):
            continue
        if not name or name in values:
            raise UserError(f"{where}, row {number}: {'repeats a' if name else 'has no'} {key}; expected one row each")
        values[name] = _value(text, value, f"{where}, row {number}")
    folds = {int(text) for text in values.values() if text != "test"} if value == "fold" else set()
    if value == "fold" and (len(folds) < 2 or folds != set(range(1, len(folds) + 1))):
        raise UserError(f"{where}: expected two or more folds, with contiguous numbers 1, 2, …")
    return GivenSplit(path, key, value == "fold", values)


def _value(text: str, column: str, where: str) -> str:
    plain = SHORT.get(text.casefold(), text.casefold())
    if column == "section" and plain in SECTIONS:
        return plain
    if column == "fold" and (plain == "test" or (plain.isascii() and plain.isdigit() and 0 < int(plain) < 10_000)):
        return plain
    expected = ", ".join(SECTIONS) if column == "section" else "a number of at least 1, or test"
    raise UserError(f"{where}: its {column} is {text[:20]!r}; expected {expected}")


def given_sections(given: GivenSplit, cases: Sequence[Case], labelled: Sequence[bool], by_image: bool) -> list[str]:
    """Return the section of each case.

    Args:
        labelled: whether each case has a label.
        by_image: whether images of one subject may be in several sections.

    Raises:
        UserError: a case without a row, a case without a label outside the test section, or a subject in two sections.
    """
    sections = [given.section(case) for case in cases]
    seen: dict[str, str] = {}
    for case, section, known in zip(cases, sections, labelled, strict=True):
        if not known and section != "test":
            raise UserError(f"--split {one_line(given.path)}: {case.source} has no label; its section can only be test")
        if seen.setdefault(case.subject, section) != section and not by_image:
            raise UserError(
                f"--split {one_line(given.path)}: the subject of {case.source} is in {seen[case.subject]} and {section}"
                "; assign one section per subject, or specify --split_by image"
            )
    empty = [name for name in ("training", "validation") if name not in sections]
    if empty and set(sections) != {"test"}:
        raise UserError(f"--split {one_line(given.path)}: nothing is in {empty[0]}; expected training and validation")
    return sections


def split_word(options: ImportOptions, words: Sequence[str]) -> tuple[str | None, ImportOptions]:
    """Return `--split` if it is one of the format's words, else None, and the options without that word."""
    if options.split in words:
        return options.split, replace(options, split=None)
    if options.split is not None and not options.split.lower().endswith(".csv"):
        raise UserError(f"--split is {options.split!r}; expected {', '.join(words)} or FILE.csv")
    return None, options
