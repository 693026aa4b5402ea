"""Rows of a comparison from label maps of any tool, scored like a network in an evaluation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from engines.records.panels import shrunk
from engines.records.predictions import write_images, write_label_maps
from engines.scoring.boundary_scores import BoundaryScores
from engines.scoring.lesion_classes import lesion_classes
from engines.scoring.lesion_files import LesionResult
from engines.scoring.matching import ImageLesions, Rule, judge
from engines.scoring.metrics import confusion_matrix
from engines.scoring.spacing import pixel_spacings
from scripts.comparison.models import LAST, Model
from scripts.comparison.peers.label_values import Values
from scripts.comparison.peers.peer_files import Found, find, read_labels, read_probability
from scripts.comparison.store import Matrices, Result
from scripts.crossvalidation.folds import TRAINED
from scripts.crossvalidation.views import sections_of_fold
from transforms.dataset import EVERY, VOID, Dataset, open_array
from transforms.errors import UserError
from transforms.palette import picture

OPTION = "--predictions"
BUNDLE = "predictions"
PICTURES, HEIGHT = 6, 320
"""Number of subjects whose first image is shown, and its largest height, as in evaluations."""


@dataclass(frozen=True)
class Peers:
    """Request of `--predictions`.

    Attributes:
        folders: name of a row → its folders, one per training (seed).
        data: data set with the true labels.
        section: section to score; for a cross-validation, the subjects of all folds are scored.
        lesion_class, rule: how to count lesions if no other row defines it.
        pictures: folder for small pictures.
    """

    folders: Mapping[str, Sequence[Path]]
    data: Dataset
    section: str
    cross: bool
    pictures: Path
    lesion_class: str | None = None
    rule: Rule | None = None


def parsed(given: Sequence[str]) -> dict[str, list[Path]]:
    """Parse NAME=FOLDER; several folders of one name are trainings with different seeds.

    Raises:
        UserError: an argument is not of this form.
    """
    folders: dict[str, list[Path]] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not (name.strip() and equals and folder):
            raise UserError(f"{OPTION} {text}: expected NAME=FOLDER, such as nnU-Net=predictions")
        folders.setdefault(name.strip(), []).append(Path(folder).expanduser())
    return folders


def peer_rows(peers: Peers, others: Sequence[Result]) -> list[Result]:
    """Return a row per name.

    Args:
        others: rows of the same data from the store, which define the folds of a cross-validation and the lesion rule.

    Raises:
        UserError: a folder, file or value is invalid, or `others` are of other data.
    """
    data = peers.data
    items = [item for section in (TRAINED if peers.cross else (peers.section,)) for item in data.items(section)]
    if not items:
        raise UserError(f"--section {peers.section}: {data.root} has no images in this section")
    data.check_labels(items)
    folds, digest = _folds(data, items, others if peers.cross else ())
    items = [item for item in items if any(item["subject"] in fold for fold in folds)]
    lesions, rule = _lesions(peers, others)
    rows: list[Result] = []
    for name, folders in peers.folders.items():
        each = []
        for number, folder in enumerate(folders):
            found = find(folder, [item["case"] for item in items], f"{OPTION} {name}")
            pictures = peers.pictures / f"{len(rows)}-{number}"
            measured = BoundaryScores(data, EVERY)
            kept = _Pictures(pictures, folds[0])
            subjects, images = _scored(data, items, found, lesions, rule, kept, name, measured)
            counted = LesionResult(tuple(data.class_names[c] for c in lesions), rule, images) if lesions else None
            each.append(
                Result(
                    stage=f"{BUNDLE} {name}",
                    run_name=str(folder),
                    run_ids=(),
                    section="validation" if peers.cross else peers.section,
                    classes=tuple(data.class_names),
                    dataset=data.name,
                    digest=digest,
                    subjects=subjects,
                    folds=tuple({subject: subjects[subject] for subject in fold} for fold in folds),
                    expected_folds=len(folds),
                    lesions=counted,
                    lesion_folds=() if counted is None else tuple(_of(counted, fold) for fold in folds),
                    boundaries=measured.result,
                    model=Model(BUNDLE, name, LAST),
                    pictures=pictures,
                    from_masks=not found.probabilities,
                )
            )
        rows.append(replace(each[0], seeds=tuple(each[1:])))
    return rows


def _folds(data: Dataset, items: Sequence[Mapping[str, Any]], others: Sequence[Result]) -> tuple[list[list[str]], str]:
    """Return subjects of each fold, and the digest of their results; without others all subjects are one fold."""
    subjects = sorted({item["subject"] for item in items})
    if not others:
        return [subjects], data.digest
    folds = [sorted(fold) for fold in others[0].folds]
    if not {subject for fold in folds for subject in fold} <= set(subjects):
        raise UserError(f"--dataset_dir {data.root}: {others[0].name} has other subjects; give its data set")
    views = [sections_of_fold(data, fold, folds) for fold in folds]
    digests = [replace(data, content={**data.content, **view}).digest for view in views]
    return folds, hashlib.sha256(json.dumps(sorted(digests)).encode()).hexdigest()


def _lesions(peers: Peers, others: Sequence[Result]) -> tuple[list[int], Rule]:
    """Return lesion classes and rule: those of the other rows, else as given."""
    known = [result.lesions for result in others if result.lesions is not None]
    if known and peers.rule is None and peers.lesion_class is None:
        return lesion_classes(peers.data.class_names, list(known[0].classes)), known[0].rule
    return lesion_classes(peers.data.class_names, peers.lesion_class), peers.rule or Rule()


def _of(lesions: LesionResult, fold: Sequence[str]) -> LesionResult:
    return replace(lesions, images=tuple(image for image in lesions.images if image.subject in fold))


def _scored(
    data: Dataset,
    items: Sequence[Mapping[str, Any]],
    found: Found,
    lesions: Sequence[int],
    rule: Rule,
    kept: _Pictures,
    name: str,
    measured: BoundaryScores,
) -> tuple[Matrices, tuple[ImageLesions, ...]]:
    """Return the confusion matrix of each subject, and the lesions of each image."""
    spacing = {case: mm for s in ("training", "validation", "test") for case, mm in pixel_spacings(data, s).items()}
    values, matrices, images = Values(data, f"{OPTION} {name}"), Matrices(), []
    for item in tqdm(items, desc=name, delay=2, leave=False):
        case, subject = item["case"], item["subject"]
        label = np.array(open_array(item["label"]))
        shape = (int(label.shape[0]), int(label.shape[1]))
        pred = values.classes(found.labels[case], read_labels(found.labels[case], data.class_names, shape))
        counts = confusion_matrix(torch.from_numpy(label), torch.from_numpy(pred), data.num_classes)
        matrices[subject] = matrices[subject] + counts if subject in matrices else counts
        kept.take(item, label, pred, data.num_classes)
        measured.take(subject, case, label, pred)
        if lesions:
            mask = np.isin(pred, lesions)
            path = found.probabilities.get(case)
            p = mask.astype(np.float32) if path is None else read_probability(path, lesions, data.num_classes, shape)
            void = label >= data.num_classes
            truth = np.isin(label, lesions)
            images.append(judge(subject, case, truth, mask, p, void, spacing[case], rule))
    kept.write()
    return matrices, tuple(sorted(images, key=lambda image: (image.subject, image.case)))


class _Pictures:
    """Small pictures of the first image of each of the first `PICTURES` of `subjects`, as in evaluations."""

    def __init__(self, folder: Path, subjects: Sequence[str]) -> None:
        self.folder, self.subjects, self.seen = folder, set(subjects), set[str]()
        self.maps: dict[str, dict[str, Any]] = {"image": {}, "truth": {}, "prediction": {}}

    def take(self, item: Mapping[str, Any], label: NDArray[np.uint8], pred: NDArray[np.uint8], classes: int) -> None:
        if item["subject"] not in self.subjects - self.seen or len(self.seen) == PICTURES:
            return
        self.seen.add(item["subject"])
        low, high = item["intensity_range"]
        image = (np.array(open_array(item["image"]), np.float32) - low) / (high - low)
        channels = image[None].repeat(3, axis=0) if image.ndim == 2 else image.transpose(2, 0, 1)
        tensors = {"image": channels, "label": label[None], "pred": pred[None]}
        small, truth, mine = shrunk({k: torch.from_numpy(v) for k, v in tensors.items()}, HEIGHT)
        self.maps["image"][item["case"]] = picture(small)
        self.maps["truth"][item["case"]] = np.where(truth < classes, truth, VOID).astype(np.uint8)
        self.maps["prediction"][item["case"]] = mine.astype(np.uint8)

    def write(self) -> None:
        write_images(self.folder / "image", self.maps["image"])
        write_label_maps(self.folder / "truth", self.maps["truth"])
        write_label_maps(self.folder / "prediction", self.maps["prediction"])
