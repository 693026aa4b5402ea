"""The one writer of dataset folders, used by every importer.

It numbers subjects, names files by number, splits by subject, and writes into a hidden folder that becomes the
output at the very end: whatever happens, there is a whole dataset or none.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scripts.importers.cases import Case, Label
from scripts.importers.split import validation_groups
from scripts.importers.staging import check_output, staged_folder
from transforms.dataset import SECTIONS, Dataset, listed
from transforms.errors import UserError
from transforms.mammogram import Mammogram

T = TypeVar("T")


@dataclass
class Summary:
    """What was written. `rejected` and `private` name source files: print the first, never store either."""

    out: Path
    name: str
    images: int
    subjects: int
    sections: dict[str, int]
    pixel_percent: dict[str, float]
    notes: list[str] = field(default_factory=list)
    overlaps: dict[str, int] = field(default_factory=dict)
    rejected: list[tuple[Path, str]] = field(default_factory=list)
    private: list[tuple[str, str, Path]] = field(default_factory=list, repr=False)


@dataclass
class _Written:
    """One case that is in the staging folder."""

    item: dict[str, Any]
    case: Case
    counts: NDArray[np.int64] | None
    highest: int


def write_dataset(
    out: Path,
    cases: Iterable[Case],
    *,
    name: str | None = None,
    labels: Sequence[str] = (),
    images_only: bool = False,
    ignore_label: int | None = None,
    licence: str = "",
    reference: str = "",
    validation: float = 0.3,
    seed: int = 0,
    split_by: str = "subject",
    windowing: str = "voi",
    overwrite: bool = False,
    strict: bool = False,
    progress: bool = True,
) -> Summary:
    """Write a dataset folder and open it once, so that what exists afterwards is known to be readable.

    Args:
        out: the folder to make; must be absent or empty unless `overwrite`.
        cases: at least two subjects. Images that cannot be read are listed in the summary and left out
            (`strict`: an error); a bad label is always an error.
        name: of the dataset; None takes that of `out`.
        labels: class names; the position is the class id.
        images_only: nothing is labelled; every image goes to `test`, to be segmented but not trained on.
        validation: share of the subjects (or images) that is validated on.
        split_by: "subject", or "image" as in the paper, which is optimistic where subjects have several images.
        windowing: as the cases were told to read; only recorded here.

    Raises:
        UserError: nothing readable, a label that does not fit, an output that may not be replaced.
    """
    out, cases = Path(out), list(cases)
    name = name or out.absolute().name
    if split_by not in ("subject", "image"):
        raise UserError(f"--split_by is {split_by!r}; expected subject or image")
    if not 0.0 < validation < 1.0:
        raise UserError(f"--validation is {validation:g}; expected a share between 0 and 1, such as 0.3")
    check_output(out, overwrite, tuple(case.source for case in cases))
    with staged_folder(out, overwrite) as stage:
        written, rejected = _write_cases(stage, cases, labels, ignore_label, strict, progress)
        sections = _sections(written, validation, seed, split_by, images_only)
        fraction = _pixel_fraction(sections["training"], labels)
        content = {
            "format_version": 1,
            "name": name,
            "licence": licence,
            "reference": reference,
            "windowing": windowing,
            "labels": {str(label): text for label, text in enumerate(labels)},
            "ignore_label": ignore_label,
            "pixel_fraction": fraction,
            "split": {"by": split_by, "seed": seed, "validation_fraction": validation},
            **{section: [one.item for one in members] for section, members in sections.items()},
        }
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (stage / "dataset.json").write_text(text, encoding="utf-8")
        Dataset.load(stage)
    return Summary(
        out=out,
        name=name,
        images=len(written),
        subjects=len({one.item["subject"] for one in written}),
        sections={section: len(members) for section, members in sections.items()},
        pixel_percent={label: 100.0 * share for label, share in fraction.items()},
        notes=_notes(written, sections, fraction),
        rejected=rejected,
        private=[(one.item["subject"], Path(one.item["image"]).stem, one.case.source) for one in written],
    )


def _write_cases(
    stage: Path, cases: list[Case], labels: Sequence[str], ignore_label: int | None, strict: bool, progress: bool
) -> tuple[list[_Written], list[tuple[Path, str]]]:
    (stage / "images").mkdir()
    (stage / "labels").mkdir()
    numbers: dict[str, str] = {}
    taken: Counter[str] = Counter()
    written: list[_Written] = []
    rejected: list[tuple[Path, str]] = []
    width = max(3, len(str(len({case.subject for case in cases}))))
    for case in with_progress(cases, progress):
        try:
            image = case.read_image()
        except UserError as error:
            if strict:
                raise
            rejected.append((case.source, str(error)))
            continue
        label = None if case.read_label is None else case.read_label(image.pixels.shape)
        counts = None if label is None else _checked(case, image, label, labels, ignore_label)
        subject = numbers.setdefault(case.subject, f"s{len(numbers) + 1:0{width}d}")
        item = _save(stage, _file_name(subject, image, taken), case, subject, image, label)
        written.append(_Written(item, case, counts, int(image.pixels.max())))
    if not written:
        reason = f"; the first: {rejected[0][1]}" if rejected else ""
        raise UserError(f"none of {len(cases)} images could be read{reason}")
    return written, rejected


def with_progress(things: Sequence[T], progress: bool, doing: str = "reading") -> Iterator[T]:
    """The things, one by one, under a progress bar if a person is looking."""
    console = Console(stderr=True)
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = progress and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        yield from bar.track(things)


def _file_name(subject: str, image: Mammogram, taken: Counter[str]) -> str:
    name = "_".join(part for part in (subject, image.laterality, image.view) if part)
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}_{taken[name]}"


def _save(stage: Path, name: str, case: Case, subject: str, image: Mammogram, label: Label | None) -> dict[str, Any]:
    np.save(stage / "images" / f"{name}.npy", image.pixels, allow_pickle=False)
    if label is not None:
        np.save(stage / "labels" / f"{name}.npy", label, allow_pickle=False)
    return {
        "image": f"images/{name}.npy",
        "label": None if label is None else f"labels/{name}.npy",
        "subject": subject,
        "laterality": image.laterality,
        "view": image.view,
        "spacing_mm": None if image.spacing_mm is None else list(image.spacing_mm),
        "spacing_source": image.spacing_source,
        "intensity_range": list(image.intensity_range),
        "intensity_source": image.intensity_source,
        "burned_in": image.burned_in,
        "source_sha256": file_sha256(case.source),
        "image_sha256": array_sha256(image.pixels),
        "label_sha256": None if label is None else array_sha256(label),
    }


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def array_sha256(array: NDArray[Any]) -> str:
    """SHA-256 of an array's type, shape and values, the same on every machine."""
    values = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    head = f"{array.dtype.name} {array.shape} ".encode()
    return hashlib.sha256(head + values.tobytes()).hexdigest()


def _checked(
    case: Case, image: Mammogram, label: Label, labels: Sequence[str], ignore_label: int | None
) -> NDArray[np.int64]:
    """Pixels of each class; an error if the map does not fit the image or the classes."""
    if label.shape != image.pixels.shape:
        raise UserError(
            f"{case.source}: is {image.pixels.shape[0]} x {image.pixels.shape[1]} (rows x columns), its label map "
            f"{' x '.join(map(str, label.shape))}; give a label map of the image's size"
        )
    counts = sum(np.bincount(label[i : i + 256].ravel(), minlength=256) for i in range(0, len(label), 256))
    counts = np.asarray(counts, np.int64)
    if ignore_label is not None:
        counts[ignore_label] = 0
    if counts[len(labels) :].any():
        found = np.flatnonzero(counts).tolist()
        raise UserError(f"{case.source}: its label map holds {listed(found)}; expected 0 to {len(labels) - 1}")
    return counts[: len(labels)]


def _sections(
    written: list[_Written], validation: float, seed: int, split_by: str, images_only: bool
) -> dict[str, list[_Written]]:
    """Cases by section: as their source prescribes, else unlabelled to test, the rest by lot."""
    key = "subject" if split_by == "subject" else "image"
    free = [one for one in written if one.case.section is None and one.counts is not None]
    if not free and not images_only and not any(one.case.section for one in written):
        raise UserError(f"none of the {len(written)} images has a label; nothing can be trained")
    chosen = validation_groups((one.item[key] for one in free), validation, seed) if free else set()
    sections: dict[str, list[_Written]] = {section: [] for section in SECTIONS}
    for one in written:
        if one.case.section is not None:
            sections[one.case.section].append(one)
        elif one.counts is None:
            sections["test"].append(one)
        else:
            sections["validation" if one.item[key] in chosen else "training"].append(one)
    return sections


def _pixel_fraction(training: list[_Written], labels: Sequence[str]) -> dict[str, float]:
    counts = sum((one.counts for one in training if one.counts is not None), np.zeros(len(labels), np.int64))
    total = max(int(counts.sum()), 1)
    return {name: float(count) / total for name, count in zip(labels, counts.tolist(), strict=True)}


def _notes(written: list[_Written], sections: dict[str, list[_Written]], fraction: dict[str, float]) -> list[str]:
    """What a person should know about the new dataset, one line each."""
    notes = []
    absent = [name for name, share in fraction.items() if share == 0.0]
    if absent:
        notes.append(f"no training pixel of {', '.join(absent)}")
    burned = sum(bool(one.item["burned_in"]) for one in written)
    if burned:
        notes.append(f"{burned} images say that text is burned into their pixels: look at them before sharing")
    top = max(one.item["intensity_range"][1] for one in written)
    highest = max(one.highest for one in written)
    if 0 < highest * 4 < top:
        notes.append(f"no pixel exceeds {highest} of {top} possible: if fewer bits are used, say so with --bits")
    places: dict[str, set[str]] = {}
    for section, members in sections.items():
        for one in members:
            places.setdefault(one.item["image_sha256"], set()).add(section)
    copies = len(written) - len(places)
    if copies:
        leak = sum(len(found) > 1 for found in places.values())
        notes.append(f"{copies} images are exact copies of others; {leak} of them stand in two sections")
    return notes
