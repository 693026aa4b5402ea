"""Segment every readable image below a folder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.engines import Evaluator
from torch.utils.data import IterableDataset

from engines.places import as_path
from transforms.errors import UserError, user_error
from transforms.names import stem
from transforms.outputs.findings import put_refused

logger = logging.getLogger("mammoseg")

NOT_IMAGES = {".json", ".geojson", ".csv", ".txt", ".md", ".xml", ".xls", ".xlsx", ".zip", ".pdf", ".html"}
"""Endings of files that commonly lie beside images and are not tried."""


def find_images(path: str | Path, but_not_in: str | Path | None = None) -> list[dict[str, str]]:
    """Every file below a folder (or the one file) that may be an image, in order of name.

    DICOM files often have no ending or a number for one, so files are told apart when they are read.

    Args:
        path: folder or file.
        but_not_in: a folder inside it that is left out: that of earlier results.

    Returns items with `image` (path) and `name` (path below the folder without its ending).

    Raises:
        UserError: there is no such path, or nothing in it.
    """
    root = as_path(path)
    if not root.exists():
        raise UserError(f"{root}: no such file or folder; give --dataset_dir a folder with DICOM, PNG or NIfTI images")
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    files = [p for p in files if p.suffix.lower() not in NOT_IMAGES and not p.name.startswith(".")]
    if but_not_in is not None:
        results = as_path(but_not_in).resolve()
        inside = root.resolve() in results.parents  # results above the images, or among them, would leave none
        files = [p for p in files if not inside or results not in p.resolve().parents]
    if not files:
        raise UserError(f"{root}: no image in it; expected DICOM, PNG, TIFF or NIfTI files in it or its folders")
    folder = root.parent if root.is_file() else root
    names = [(p.relative_to(folder).parent / stem(p)).as_posix() for p in files]
    often = Counter(names)  # where two files would be called the same, their endings stay
    return [
        {"image": str(p), "name": name if often[name] == 1 else p.relative_to(folder).as_posix()}
        for p, name in zip(files, names, strict=True)
    ]


class ReadableImages(IterableDataset[dict[str, Any]]):
    """Transformed items of those files that can be read; the others are listed in `refused` with the reason.

    `reasons` has the same by the items' names.

    Args:
        data: items of `find_images`.
        transform: reads and prepares one item; a `UserError` it raises refuses the file.
        finished: tells items that are left out, such as `transforms.outputs.finished.Finished`.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        finished: Callable[[Any], bool] | None = None,
    ) -> None:
        found = list(data)
        self.data = found if finished is None else [item for item in found if not finished(item)]
        self.left_out = len(found) - len(self.data)
        self.transform = transform
        self.refused: list[str] = []
        self.reasons: dict[str, str] = {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.refused, self.reasons = [], {}
        for number, item in enumerate(self.data, start=1):
            try:
                ready = self.transform(dict(item))
            except Exception as error:
                cause = user_error(error)
                if cause is None:
                    raise
                self.refused.append(str(cause))
                self.reasons[str(item["name"])] = str(cause)
                logger.warning("refused   %s", cause)
                continue
            logger.info("%d of %d   %s", number, len(self.data), item["name"])
            yield ready


def infer(evaluator: Evaluator, dataset: ReadableImages, output_dir: str, formats: Sequence[str] = ()) -> None:
    """Run the evaluator over every readable image and say where the results are.

    Args:
        formats: of `transforms.save`; with "findings" the refused images stand in that table, too.

    Raises:
        UserError: not one image could be read.
    """
    if dataset.left_out:
        logger.info("%d images have their results already and are left out", dataset.left_out)
        if not dataset.data:
            return
    evaluator.run()
    if "findings" in formats:
        for name, reason in dataset.reasons.items():
            put_refused(as_path(output_dir), name, reason)
    done = len(dataset.data) - len(dataset.refused)
    if not done:
        raise UserError(f"none of {len(dataset.data)} files could be segmented; first: {dataset.refused[0]}")
    refused = f", {len(dataset.refused)} files refused (reasons above)" if dataset.refused else ""
    logger.info("%d images segmented%s: %s", done, refused, output_dir)
