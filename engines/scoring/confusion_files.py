"""Confusion matrices per subject, stored with the identity of the data they were counted on."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engines.records.tables import write_text
from engines.scoring.figures import class_figure, confusion_figure, save_figure
from engines.scoring.metrics import scores
from transforms.dataset import SECTIONS, Dataset

if TYPE_CHECKING:
    from engines.records.output_folder import Output

FORMAT = 1


def identity(data: Dataset) -> dict[str, Any]:
    """Return what a result must share with another to be compared with it."""
    return {
        "labels": {str(value): name for value, name in data.labels.items()},
        "dataset": data.name,
        "dataset_digest": data.digest,
        "split_digest": data.split_digest,
    }


def write_confusion_files(
    output: Output, row: str, per_subject: Mapping[str, ArrayLike], about: Mapping[str, Any], section: str
) -> list[Path]:
    """Write eval/confusion-<row>.json, and its matrix and class scores as pictures; return the files.

    Args:
        row: name of the result in the table: a stage.
        per_subject: subject → (C, C) counts, rows = truth.
        about: at least the entries of `identity`.
        section: section of the data set.
    """
    labels = about["labels"]
    names = [labels[key] for key in sorted(labels, key=int)]
    matrices = {subject: np.asarray(per_subject[subject], dtype=np.int64) for subject in sorted(per_subject)}
    head = {
        "format": FORMAT,
        "row": row,
        "section": section,
        "classes": names,
        **{key: about[key] for key in ("dataset", "dataset_digest", "split_digest")},
    }
    path = output.eval / f"confusion-{row}.json"
    write_text(path, _json(head, matrices))
    total = sum(matrices.values(), np.zeros((len(names),) * 2, np.int64))
    title = f"{row}: {len(matrices)} {section} subjects of {about['dataset']}"
    return [
        path,
        save_figure(confusion_figure(total, names, title), output.eval / f"confusion-{row}.png"),
        save_figure(class_figure(scores(total, names), names, title), output.eval / f"classes-{row}.png"),
    ]


def read_matrices(content: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
    """Return the matrix of each subject, from what `write_confusion_files` wrote.

    Raises:
        ValueError: there is none, or one does not count the pixels of these classes.
    """
    size = len(content["classes"])
    found = {subject: np.array(rows) for subject, rows in content["subjects"].items()}
    if not found or any(m.shape != (size, size) or m.dtype.kind != "i" or m.min() < 0 for m in found.values()):
        raise ValueError("no counts of pixels")
    return found


def write_split(output: Output, data: Dataset, held_out: Collection[str] = ()) -> Path:
    """Write eval/split.json: the subjects (running numbers) of each section, to reproduce a result.

    Args:
        held_out: training subjects held out from training.
    """
    subjects = {section: sorted({item["subject"] for item in data.items(section)}) for section in SECTIONS}
    if held_out:
        subjects["held_out"] = sorted(held_out)
    path = output.eval / "split.json"
    write_text(path, json.dumps(subjects, indent=1) + "\n")
    return path


def plain_matrices(per_subject: Mapping[str, ArrayLike]) -> dict[str, list[list[int]]]:
    """Return the matrices in a form that a checkpoint can hold."""
    return {subject: np.asarray(matrix).tolist() for subject, matrix in per_subject.items()}


def _json(head: Mapping[str, Any], matrices: Mapping[str, Any]) -> str:
    """Return JSON with one line per subject, for readability and comparison."""
    lines: Sequence[str] = [f"    {json.dumps(s)}: {json.dumps(m.tolist())}" for s, m in matrices.items()]
    start = json.dumps(head, indent=2, ensure_ascii=False)[:-2]
    return start + ',\n  "subjects": {\n' + ",\n".join(lines) + "\n  }\n}\n"
