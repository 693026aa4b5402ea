"""Processing of one case: from its sources to files, with checks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.importers.writing.cases import Case, Label
from scripts.importers.writing.finished_cases import Record, find_case, save_case
from transforms.dataset import listed
from transforms.digests import array_sha256, file_sha256
from transforms.errors import UserError
from transforms.flip import mirrored, must_flip
from transforms.reading.dicom import transfer_syntax
from transforms.reading.limits import Limits, limited
from transforms.reading.mammogram import Mammogram
from transforms.row_counts import row_counts


@dataclass(frozen=True)
class Rules:
    """Settings common to all cases of an import; two imports are the same only if these are.

    Attributes:
        labels: class names; a label map holds their positions, or `ignore_label`.
        flip: "left" or "right" mirrors every breast to that side, "none" leaves images unchanged.
        strict: whether an unreadable image is an error.
        limits: limits of one image; larger ones are refused.
    """

    labels: tuple[str, ...]
    ignore_label: int | None = None
    flip: str = "none"
    strict: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Task:
    """One case to be processed in `folder`, under a key that another run finds again.

    Attributes:
        verify: see `find_case`.
    """

    folder: Path
    key: str
    case: Case
    rules: Rules
    verify: bool = True


def process_case(task: Task) -> Record:
    """Write `key`.{image,label,rows}.npy and finally `key`.json; or reuse them if complete from an earlier run.

    Raises:
        UserError: a label that does not fit, or with `strict` an unreadable image.
    """
    found = find_case(task.folder, task.key, task.verify)
    if found is not None:
        return found
    with limited(task.rules.limits):
        return _do_case(task)


def _do_case(task: Task) -> Record:
    case, rules = task.case, task.rules
    record = Record(task.key, syntax=transfer_syntax(case.source))
    try:
        image = case.read_image()
    except UserError as error:
        if rules.strict:
            raise
        record.rejected = str(error)
        return record
    label = _label(case, image, record)
    rows = None if label is None else _row_counts(case, image, label, rules)
    record.counts = None if rows is None else rows.sum(axis=1, dtype=np.int64).tolist()
    flipped, record.flip_remark = must_flip(image.pixels, image.laterality, rules.flip)
    if flipped:
        image, label = replace(image, pixels=mirrored(image.pixels)), None if label is None else mirrored(label)
    record.processing = image.processing
    record.lowest, record.highest = int(image.pixels.min()), int(image.pixels.max())
    record.size = (image.pixels.shape[0], image.pixels.shape[1])
    record.item = _item(case, image, label, flipped)
    save_case(task.folder, image.pixels, label, rows, record)
    return record


def failed_case(task: Task) -> Record:
    """Return the record of a case whose process died."""
    reason = f"{task.case.source}: reading it ended the process: it is damaged, or there is not enough memory"
    if task.rules.strict:
        raise UserError(reason)
    return Record(task.key, rejected=reason, syntax=transfer_syntax(task.case.source))


def _label(case: Case, image: Mammogram, record: Record) -> Label | None:
    """Return the case's label map; the counts from reading it are moved from the case to the record."""
    if case.read_label is None:
        return None
    if case.tally is None:
        return case.read_label(image.pixels.shape[:2])
    before = Counter(case.tally.notes), Counter(case.tally.overlaps)
    case.tally.notes.clear()
    case.tally.overlaps.clear()
    try:
        label = case.read_label(image.pixels.shape[:2])
        record.notes, record.overlaps = dict(case.tally.notes), dict(case.tally.overlaps)
    finally:
        for counter, content in zip((case.tally.notes, case.tally.overlaps), before, strict=True):
            counter.clear()
            counter.update(content)
    return label


def _row_counts(case: Case, image: Mammogram, label: Label, rules: Rules) -> NDArray[np.uint32]:
    """Count the pixels of each class in each row; raise UserError if the map does not fit the image or the classes."""
    if label.shape != image.pixels.shape[:2]:
        raise UserError(
            f"{case.source}: is {image.pixels.shape[0]} x {image.pixels.shape[1]} (rows x columns), its label map "
            f"{' x '.join(map(str, label.shape))}; expected a label map of the same size as the image"
        )
    counts = row_counts(label, 256)
    found = np.any(counts, axis=1)
    if rules.ignore_label is not None:
        found[rules.ignore_label] = False
    if found[len(rules.labels) :].any():
        values = np.flatnonzero(found).tolist()
        raise UserError(f"{case.source}: its label map holds {listed(values)}; expected 0 to {len(rules.labels) - 1}")
    return counts[: len(rules.labels)]


def _item(case: Case, image: Mammogram, label: Label | None, flipped: bool) -> dict[str, Any]:
    attributes = {**image.attributes, **case.recorded.get("attributes", {})}
    return {
        "laterality": image.laterality,
        "view": image.view,
        "spacing_mm": None if image.spacing_mm is None else list(image.spacing_mm),
        "spacing_source": image.spacing_source,
        "intensity_range": list(image.intensity_range),
        "intensity_source": image.intensity_source,
        "burned_in": image.burned_in,
        "flipped": flipped,
        "source_sha256": file_sha256(case.source),
        "image_sha256": array_sha256(image.pixels),
        "label_sha256": None if label is None else array_sha256(label),
        **case.recorded,
        **({"attributes": attributes} if attributes else {}),
    }
