"""Private map from sources to cases, kept outside of the data set."""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path

from scripts.importers.writing.import_summary import Summary
from transforms.errors import UserError
from transforms.plain_text import csv_cell


def check_private_map(path: Path, out: Path) -> None:
    """Refuse a path for the private map that is inside the dataset, exists or is not writable."""
    if out.resolve() in path.resolve().parents:
        raise UserError(f"{path}: the private map must not be inside the dataset {out}; choose another path")
    if path.exists():
        raise UserError(f"{path}: exists; choose another name for the private map")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path}: no such folder for the private map; create it first")
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise UserError(
            f"{path}: the private map cannot be written there ({error.strerror}); choose another path"
        ) from None


def write_private_map(path: Path, summary: Summary) -> None:
    """Write the source file of each case, readable only by the owner."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("subject", "case", "source"))
        writer.writerows((subject, case, csv_cell(source)) for subject, case, source in summary.private)
