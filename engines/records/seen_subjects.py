"""Check whether a training saw the subjects to be scored."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines.records.data_record import FILE
from engines.records.data_record import SECTIONS as RECORDED
from engines.records.ensemble_members import Trained
from transforms.dataset import SECTIONS, Dataset, open_array
from transforms.digests import array_sha256
from transforms.errors import UserError
from transforms.plain_text import one_line

logger = logging.getLogger("mammoseg")

Images = dict[str, tuple[str, str]]
"""SHA-256 of an image's array → subject and section."""


def seen_subjects(models: Path, data: Dataset, section: str) -> set[str] | None:
    """Return the subjects of a section that a training was trained on, or chose its threshold on.

    Images are recognized by their pixels, also in another data set. If all images that a data set shares with the
    training have the same subject there, both are assumed to name subjects alike, and other images of a training
    subject are recognized, too. Validation subjects do not count as trained on.

    Args:
        models: the training's models/ folder, with data.json.
        data: the data set to be scored.
        section: section to be scored.

    Returns None if the training left no record of its images.
    """
    trained = _trained_with(models / FILE)
    if trained is None:
        return None
    scored = {item["subject"] for item in data.items(section)}
    images = [(item["subject"], _digest(data, item)) for name in SECTIONS for item in data.content.get(name, [])]
    by_image = {subject for subject, digest in images if trained.get(digest, ("", ""))[1] == "training"}
    common = [trained[digest][0] == subject for subject, digest in images if digest in trained]
    by_name: set[str] = set()
    if common and all(common):
        by_name = {subject for subject, part in trained.values() if part == "training"}
    return scored & (by_image | by_name)


def check_unseen(members: Sequence[Trained], data: Dataset, section: str) -> None:
    """Refuse an ensemble with members trained on a subject to be scored; warn of members for which this is unknown.

    Raises:
        UserError: names the member and the number of subjects.
    """
    for member in members:
        seen = seen_subjects(member.folder / "models", data, section)
        if seen is None:
            logger.warning(
                "member    %s, %s: its training left no data.json; whether it saw these subjects is unknown",
                *(member.title, member.folder.name),
            )
        elif seen:
            total = len({item["subject"] for item in data.items(section)})
            raise UserError(
                f"--members: {member.folder} was trained on {len(seen)} of the {total} {section} subjects of "
                f"{data.name}, such as {one_line(sorted(seen)[0])}; score an ensemble over folds on --section test, or "
                "average trainings of the same fold"
            )


def warn_of_seen(models: Path, data: Dataset, section: str) -> None:
    """Warn of the number of subjects of a section that the training was trained on, if any."""
    seen = seen_subjects(models, data, section)
    if seen:
        total = len({item["subject"] for item in data.items(section)})
        logger.warning(
            "%d of the %d subjects of section %s of %s were trained on: their scores say nothing about others",
            *(len(seen), total, section, data.name),
        )


def _trained_with(path: Path) -> Images | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {
            record["files"][name][2]: (image["subject"], image["section"])
            for name, image in record["images"].items()
            if image["section"] in RECORDED
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None


def _digest(data: Dataset, item: dict[str, Any]) -> str:
    recorded = item.get("image_sha256")
    return str(recorded) if recorded else array_sha256(open_array(data.root / item["image"]))
