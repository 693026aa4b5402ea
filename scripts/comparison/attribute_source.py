"""Attributes to group the images of a comparison by: from a table, the dataset folder, and stored results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engines.records.attributes import Attributes, check_known, dataset_attributes, read_attributes
from engines.scoring.groups import SIZE
from scripts.comparison.store import Result
from transforms.dataset import Dataset
from transforms.errors import UserError
from transforms.image_attributes import CHECKS
from transforms.plain_text import one_line


def known_attributes(
    results: Sequence[Result], table: Path | None, dataset_dir: Path | None, by: Sequence[str]
) -> Attributes:
    """Collect image attributes: the table takes precedence over the dataset folder, and that over the results.

    Args:
        by: names of attributes; empty for all.

    Raises:
        UserError: the table cannot be read or is of other images, or a requested attribute is unknown.
    """
    found = _stored(results)
    if dataset_dir is not None:
        found = dataset_attributes(Dataset.load(dataset_dir)).over(found)
    if table is not None:
        given = read_attributes(table, by)
        check_known(given, _images(results), " and ".join(dict.fromkeys(result.dataset for result in results)))
        found = given.over(found)
    unknown = [name for name in by if name not in (*found.names, SIZE)]
    if unknown:
        there = ", ".join([*found.names, SIZE])
        raise UserError(
            f"--by {one_line(unknown[0])}: unknown for these images; choose from {there}, or give --dataset_dir, or "
            "--attributes FILE.csv with that column"
        )
    return found.only(list(dict.fromkeys(by)) or [*found.names, SIZE])


def _stored(results: Sequence[Result]) -> Attributes:
    """Return attributes that evaluations and trainings stored with their lesions."""
    cases = {
        image.case: image.attributes
        for result in results
        for image in (result.lesions.images if result.lesions else ())
        if image.attributes
    }
    every = dict.fromkeys(name for texts in cases.values() for name in texts)
    return Attributes(cases, {}, tuple(name for name in dict.fromkeys([*CHECKS, *every]) if name in every))


def _images(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return subject and case of all scored images; without lesions, the subject takes the place of the case."""
    images = [(image.subject, image.case) for r in results if r.lesions for image in r.lesions.images]
    return images or [(subject, subject) for result in results for subject in sorted(result.subjects)]
