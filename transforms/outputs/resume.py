"""Images that an interrupted run has already finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from transforms.outputs.findings_table import FILE, part_files, rows_of
from transforms.outputs.formats import ENDINGS, checked_formats
from transforms.plain_text import csv_cell
from transforms.reading.dicom import may_be_dicom


class Finished:
    """Whether an item of `engines.find_images` has all its results: for `--resume true`.

    Every file is written atomically, so an existing one is complete; a row of findings counts if it is complete.
    Whether results were made with the same weights is not checked. DICOM SEG is expected for DICOM files only.

    Args:
        output_dir: output folder of the results.
        formats: see `transforms.outputs.formats`.
        enabled: if False, nothing counts as finished, so that all images are processed again.

    Raises UserError for an unknown format.
    """

    def __init__(self, output_dir: str, formats: Sequence[str] | str, enabled: bool = True) -> None:
        self.output_dir = Path(output_dir)
        self.formats = checked_formats(formats)
        self.enabled = enabled
        tables = [self.output_dir / FILE, *part_files(self.output_dir)] if enabled else []
        is_done = {row["name"]: not row.get("refused") for table in tables for row in rows_of(table)}
        self._in_table = {name for name, done in is_done.items() if done}

    def __call__(self, item: Mapping[str, str]) -> bool:
        """Whether all results of `item` ("image", a path, and "name") exist."""
        return self.enabled and all(self._has(name, item) for name in self.formats)

    def _has(self, format_name: str, item: Mapping[str, str]) -> bool:
        if format_name == "findings":
            return csv_cell(item["name"]) in self._in_table
        if format_name == "dicom_seg" and not may_be_dicom(Path(item["image"])):
            return True
        return (self.output_dir / (item["name"] + ENDINGS[format_name])).is_file()
