"""Import DICOM mammograms without labels: a de-identified folder, to be segmented now or annotated later."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from scripts.importers.import_options import DEFAULTS, ImportOptions
from scripts.importers.writing.cases import Case, checked_pattern, dicom_among, find_images, subject_key
from scripts.importers.writing.writer import Summary, write_dataset
from transforms.errors import UserError
from transforms.reading.mammogram import read_mammogram


def import_dicom(
    images: Path,
    out: Path,
    options: ImportOptions = DEFAULTS,
) -> Summary:
    """Write a dataset folder of images only, all in its section "test".

    Args:
        images: folder of DICOM files, detected by content; other files are counted and ignored.

    Raises:
        UserError: no DICOM file, or no readable one.
    """
    images, out, pattern = Path(images), Path(out), checked_pattern(options.subject)
    found = find_images(images, [out])
    files = dicom_among(found)
    if not files:
        raise UserError(
            f"{images}: no DICOM files; found {len(found)} pictures such as {found[0].name}; for pictures with label "
            "images use the format folder"
        )
    cases = [
        Case(
            source=path,
            subject=subject_key(path, images, pattern),
            read_image=partial(read_mammogram, path, options.windowing, options.bits),
        )
        for path in files
    ]
    summary = write_dataset(out, cases, options, images_only=True)
    if len(found) > len(files):
        summary.notes.append(f"{len(found) - len(files)} pictures are not DICOM and were ignored")
    return summary
