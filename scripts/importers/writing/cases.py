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
    """What a person should know afterwards: remarks, and pixels for each pair of overlapping classes."""

    notes: Counter[str]
    overlaps: Counter[str]


@dataclass(frozen=True)
class Case:
    """One image on its way into a dataset folder; nothing is read before the writer asks for it.

    Attributes:
        source: the image file. Its name never reaches the output.
        subject: a key that all images of one person share. It never reaches the output either.
        read_image: gives the mammogram.
        read_label: gives the label map (rows, columns) uint8 for an image of the given shape, or None where
            there is no annotation.
        section: "training", "validation" or "test" where the source prescribes it, else None.
        tally: what reading a label counts, if it counts; the same object as `read_label` holds. Cases are read by
            several processes: the writer brings together here what was counted in each.

        recorded: what else dataset.json says of the image, or says in another way.

    Both functions must pickle (a `functools.partial` of a function of a module does; a lambda does not) to be read in
    another process. Every file they read must be among their arguments as a `Path`: an interrupted import goes on with
    the cases it had finished if those files, the other arguments and the code are still the same.
    """

    source: Path
    subject: str
    read_image: Callable[[], Mammogram]
    read_label: Callable[[tuple[int, int]], Label] | None = None
    section: str | None = None
    tally: Counts | None = None
    recorded: Mapping[str, Any] = field(default_factory=dict)


def one_each(chosen: Mapping[Path, Path | None]) -> dict[Path, Path | None]:
    """The label or annotation file of each image, None where there is none, as given.

    Raises:
        UserError: two images would get the same file, as where those of several patients are all called 1-1.dcm.
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
    """Where the parts of an import lie that machines share, beside its output."""
    named = out if out.name not in ("", "..") else Path(os.path.abspath(out))
    return named.with_name(f"{named.name}.shards")


def find_images(folder: Path, but_not_in: Sequence[Path] = ()) -> list[Path]:
    """Image files below a folder, sorted: DICOM recognized by content, the rest by suffix; see `image_candidates`.

    Args:
        but_not_in: folders inside it, such as those of labels and of the output, which are left out, as are
            `shards_folder` of them.

    Raises:
        UserError: no such folder, or no image in it; says what was looked for and what is there.
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
    """Those that are DICOM by their content, and files that cannot be looked at."""
    return [path for path in paths if may_be_dicom(path)]


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith((*SUFFIXES, ".dcm", ".dicom")) or may_be_dicom(path)


def _sample(folder: Path) -> str:
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    return ", ".join(names[:5]) + (f" … ({len(names)} entries)" if len(names) > 5 else "") or "nothing"


def subject_key(path: Path, root: Path, pattern: str | None = None) -> str:
    """What all images of one person have in common.

    A given pattern is searched in the path below `root`; its first group (or the whole match) is the key.
    Otherwise: PatientID of a DICOM file; else that path. From both, side and view words are taken out.

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
    except (UserError, OSError):  # damaged; the writer will find out and say so
        patient = None
    return "id:" + without_side_and_view(patient) if patient else "path:" + (without_side_and_view(name) or name)


def checked_pattern(pattern: str | None) -> str | None:
    """The pattern, or a `UserError` that says why it is not a regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise UserError(f"--subject {pattern!r} is not a regular expression: {error}") from None
    return pattern
