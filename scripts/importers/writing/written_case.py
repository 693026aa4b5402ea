"""Properties of a data set as a whole, and of each written case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scripts.importers.writing.cases import Case
from scripts.importers.writing.facts import Facts
from scripts.importers.writing.finished_cases import Record
from scripts.importers.writing.given_split import GivenSplit
from scripts.importers.writing.process_case import Rules


@dataclass(frozen=True)
class Head:
    """Properties of all images."""

    name: str
    licence: str
    reference: str
    windowing: str
    rules: Rules
    split: dict[str, Any]
    given: GivenSplit | None
    images_only: bool
    recorded: dict[str, Any]
    colour: bool
    source_values: Sequence[int] | None

    @property
    def decided(self) -> list[Any]:
        """The format's settings, for `Plan`."""
        values = None if self.source_values is None else list(self.source_values)
        return [list(self.rules.labels), self.rules.ignore_label, self.images_only, self.colour, values, self.recorded]


@dataclass
class Written:
    """One case that was read, with its name in the dataset."""

    subject: str
    name: str
    case: Case
    record: Record
    hash: str | None = None

    @property
    def item(self) -> dict[str, Any]:
        """The entry in dataset.json."""
        label = None if self.record.counts is None else f"labels/{self.name}.npy"
        item = {"image": f"images/{self.name}.npy", "label": label, "subject": self.subject, **self.record.item}
        return item if self.hash is None else {**item, "subject_hash": self.hash}

    @property
    def facts(self) -> Facts:
        """The properties that the integrity check examines."""
        record = self.record
        digest = record.item["image_sha256"]
        return Facts(self.name, self.item, record.size, record.lowest, record.highest, record.counts, digest)
