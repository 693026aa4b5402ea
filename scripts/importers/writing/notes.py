"""Notes on a newly created data set, one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scripts.importers.writing.facts import Facts, findings
from scripts.importers.writing.finished_cases import Record

PLANNED = ["only headers were read: damaged pixels and labels that do not fit are found by the import itself"]


def notes_of(
    records: Sequence[Record], facts: Mapping[str, Sequence[Facts]], labels: Sequence[str], split_by: str, flip: str
) -> list[str]:
    """Return notes on the written images: `records` in order, `facts` by section."""
    notes = []
    reused = sum(record.reused for record in records)
    if reused:
        notes.append(f"{reused} images had been finished by an interrupted run")
    burned = sum(bool(record.item["burned_in"]) for record in records)
    if burned:
        notes.append(f"{burned} images state that text is burned into their pixels: check them before sharing")
    top = max(record.item["intensity_range"][1] for record in records)
    highest = max(record.highest for record in records)
    if 0 < highest * 4 < top:
        notes.append(f"no pixel exceeds {highest} of {top} possible: if fewer bits are used, specify --bits")
    found = findings(facts, labels, split_by == "image")
    names = {one.item["image_sha256"]: one.case for members in facts.values() for one in members}
    return [*notes, *found.errors, *found.warnings, *(_flips(records, names) if flip != "none" else [])]


def _flips(records: Sequence[Record], names: Mapping[str, str]) -> list[str]:
    notes = [f"{sum(record.item['flipped'] for record in records)} images and their labels were mirrored"]
    for remark, text in (
        ("disagrees", "images are brighter on the side opposite to their laterality, check them"),
        ("unknown", "images do not show on which side their breast is, and were left unchanged"),
    ):
        such = [names[record.item["image_sha256"]] for record in records if record.flip_remark == remark]
        if such:
            notes.append(f"{len(such)} {text}: {', '.join(such[:5])}{' …' if len(such) > 5 else ''}")
    return notes
