"""Folds of a cross-validation, drawn by a seed or given by a file; every subject is in exactly one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from engines.records.tables import read_user_csv, write_csv
from transforms.dataset import Dataset
from transforms.errors import UserError
from transforms.plain_text import one_line

TRAINED = ("training", "validation")
"""Sections whose subjects are split into folds; the test section is unchanged."""

COLUMNS = ("subject", "fold")
FOLDS = 5
"""Default number of folds, without a number or file."""

TEST = "test"
"""Value in place of a fold number for subjects that are in no fold, reserved for a final test."""

Folds = list[list[str]]


def trained_subjects(data: Dataset) -> list[str]:
    """Return the subjects that are split into folds, sorted."""
    return sorted({item["subject"] for section in TRAINED for item in data.content[section]})


def read_folds(path: Path, subjects: Collection[str]) -> Folds:
    """Read folds from a CSV file with the columns `subject` and `fold` (1, 2, …; "test" for none).

    Other columns are ignored.

    Args:
        path: CSV file.
        subjects: subjects of the data set; each needs a row.

    Raises:
        UserError: the table is invalid, a subject is missing, repeated or unknown, or fold numbers have a gap. Rows are
            referred to by number, since their content may identify a person.
    """
    rows = _table(path)
    known, fold_of, tested = set(subjects), dict[str, int](), set[str]()
    for number, row in enumerate(rows, start=2):
        if not any(row.values()):
            continue  # an empty row of a spreadsheet
        where = f"--folds_file {one_line(path)}, row {number}"
        subject, fold = ((row[name] or "").strip() for name in COLUMNS)
        if subject not in known:
            raise UserError(f"{where}: its subject is not in the data set; give the file for this data set")
        if subject in fold_of or subject in tested:
            raise UserError(f"{where}: its subject already has a row; expected one row per subject")
        if fold == TEST:
            tested.add(subject)
            continue
        if not (re.fullmatch(r"[0-9]{1,9}", fold) and 0 < int(fold) <= len(known)):
            raise UserError(f"{where}: expected a fold from 1 to {len(known)}; number the folds 1, 2, …")
        fold_of[subject] = int(fold)
    return _dealt(path, known - tested, fold_of)


def _table(path: Path) -> list[dict[str, str]]:
    rows = read_user_csv("--folds_file", path, "the columns subject and fold")
    if not rows or not set(COLUMNS) <= rows[0].keys():
        raise UserError(
            f"--folds_file {one_line(path)}: expected a CSV file with rows and the columns subject and fold"
        )
    return rows


def _dealt(path: Path, subjects: Collection[str], fold_of: dict[str, int]) -> Folds:
    missing = sorted(set(subjects) - fold_of.keys())
    if missing:
        raise UserError(
            f"--folds_file {one_line(path)}: has no row for {len(missing)} of {len(subjects)} subjects, such as "
            f"{one_line(missing[0])}; add one row per subject"
        )
    count = max(fold_of.values(), default=0)
    folds = [sorted(name for name, fold in fold_of.items() if fold == number) for number in range(1, count + 1)]
    empty = [number for number, fold in enumerate(folds, start=1) if not fold]
    if count < 2 or empty:
        found = f"fold {empty[0]} has no subject" if empty else "one fold"
        raise UserError(f"--folds_file {one_line(path)}: {found}; expected at least two folds, numbered without a gap")
    return folds


def digest_of(folds: Sequence[Sequence[str]]) -> str:
    """Return the SHA-256 of the assignment of subjects to folds."""
    return hashlib.sha256(json.dumps([sorted(fold) for fold in folds]).encode()).hexdigest()


def write_folds(folds: Sequence[Sequence[str]], path: Path) -> Path:
    """Write the folds as a file for `read_folds`."""
    pairs = sorted((subject, number) for number, fold in enumerate(folds, start=1) for subject in fold)
    write_csv(path, [dict(zip(COLUMNS, pair, strict=True)) for pair in pairs])
    return path
