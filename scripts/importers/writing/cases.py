"""Cases: the interface between importers and the writer, and the grouping of files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scripts.importers.labels.foreign import found_among
from transforms.errors import UserError
from transforms.plain_text import same_name
from transforms.reading.dicom import is_dicom, may_be_dicom, subject_of
from transforms.reading.dicom_attributes import without_side_and_view
from transforms.reading.find_files import files_below, image_candidates
from transforms.reading.mammogram import Mammogram
from transforms.reading.names import stem
from transforms.reading.pictures import SUFFIXES

Label = NDArray[np.uint8]


class Counts(Protocol):
    """Counts to report to the user: remarks, and pixels per pair of overlapping classes."""

    notes: Counter[str]
    overlaps: Counter[str]


@dataclass(frozen=True)
class Case:
    """One image to be written to a dataset folder; nothing is read before the writer requests it.

    Attributes:
        source: the image file. Its name never reaches the output.
        subject: a key common to all images of one person. It never reaches the output either.
        read_image: returns the mammogram.
        read_label: returns the label map (rows, columns) uint8 for an image of the given shape; None if there is no
            annotation.
        section: "training", "validation" or "test" if the source prescribes it, else None.
        tally: counts from reading a label, if any; the same object as in `read_label`. Several processes read cases:
            the writer adds up their counts here.
        recorded: additional or overriding entries for the image in dataset.json.

    Both functions must be picklable (like a `functools.partial` of a module's function, unlike a lambda) to run in
    another process. Every file they read must be among their arguments as a `Path`: an interrupted import reuses its
    finished cases if those files, the other arguments and the code are unchanged.
    """

    source: Path
    subject: str
    read_image: Callable[[], Mammogram]
    read_label: Callable[[tuple[int, int]], Label] | None = None
    section: str | None = None
    tally: Counts | None = None
    recorded: Mapping[str, Any] = field(default_factory=dict)


def one_each(chosen: Mapping[Path, Path | None]) -> dict[Path, Path | None]:
    """Return the given label or annotation file of each image (None if it has none) after a check for duplicates.

    Raises:
        UserError: two images have the same file, for example if the images of several patients are all named 1-1.dcm.
    """
    of_file: dict[Path, Path] = {}
    for path, found in chosen.items():
        other = path if found is None else of_file.setdefault(found, path)
        if other != path:
            raise UserError(
                f"{found}: would label two images, {other} and {path}; put it into a subfolder like that of its image, "
                "or give the images different names"
            )
    return dict(chosen)


def shards_folder(out: Path) -> Path:
    """Return the folder for the parts of an import that several machines share; it is beside the output."""
    named = out if out.name not in ("", "..") else Path(os.path.abspath(out))
    return named.with_name(f"{named.name}.shards")


def find_images(folder: Path, but_not_in: Sequence[Path] = ()) -> list[Path]:
    """Return image files below a folder, sorted: DICOM by content, the rest by suffix; see `image_candidates`.

    Args:
        but_not_in: folders inside it to exclude, with their `shards_folder`, such as those of labels and the output.

    Raises:
        UserError: no such folder, or no image in it; states what was searched for and what was found.
    """
    if not folder.is_dir():
        kind = "is a file, not a folder" if folder.exists() else "no such folder"
        beside = _sample(folder.absolute().parent) if folder.absolute().parent.is_dir() else "nothing"
        raise UserError(f"{folder}: {kind}; looked in {folder.absolute()}; beside it there is {beside}")
    others = [*but_not_in, *map(shards_folder, but_not_in)]
    images = [path for path in image_candidates(folder, others) if _is_image(path)]
    if not images:
        raise UserError(
            f"{folder}: no images; looked in it and below it for DICOM files and *{' *'.join(SUFFIXES)}; "
            f"found {_sample(folder)}{found_among(files_below(folder))}"
        )
    return images


def dicom_among(paths: Sequence[Path]) -> list[Path]:
    """Return the files that are DICOM by content, and unreadable files."""
    return [path for path in paths if may_be_dicom(path)]


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith((*SUFFIXES, ".dcm", ".dicom")) or may_be_dicom(path)


def _sample(folder: Path) -> str:
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    return ", ".join(names[:5]) + (f" … ({len(names)} entries)" if len(names) > 5 else "") or "nothing"


def subject_key(path: Path, root: Path, pattern: str | None = None) -> str:
    """Return a key common to all images of one person.

    A given pattern is searched in the path below `root`; its first group (or the whole match) is the key.
    Otherwise: PatientID of a DICOM file; else that path. In both, words for side and view are removed.

    Raises:
        UserError: the pattern does not occur in the path.
    """
    name = same_name((path.parent.relative_to(root) / stem(path)).as_posix())
    if pattern is not None:
        found = re.search(pattern, name)
        if not found:
            raise UserError(f"{path}: --subject {pattern!r} does not occur in {name!r}; correct the pattern")
        return str(found.group(1) if found.groups() else found.group(0))
    try:
        patient = subject_of(path) if is_dicom(path) else None
    except (UserError, OSError):  # damaged, which the writer reports
        patient = None
    return "id:" + without_side_and_view(patient) if patient else "path:" + (without_side_and_view(name) or name)


def checked_pattern(pattern: str | None) -> str | None:
    """Return the pattern; raise UserError if it is not a regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise UserError(f"--subject {pattern!r} is not a regular expression: {error}") from None
    return pattern
