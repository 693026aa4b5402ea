"""Notes on a newly made data set, one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scripts.importers.writing.facts import Facts, findings
from scripts.importers.writing.finished_cases import Record

PLANNED = ["only headers were looked at: damaged pixels and labels that do not fit are found when it is written"]


def notes_of(
    records: Sequence[Record], facts: Mapping[str, Sequence[Facts]], labels: Sequence[str], split_by: str, flip: str
) -> list[str]:
    """Notes on the images that were written: `records` in order, `facts` by section."""
    notes = []
    reused = sum(record.reused for record in records)
    if reused:
        notes.append(f"{reused} images had been finished by a run that was interrupted")
    burned = sum(bool(record.item["burned_in"]) for record in records)
    if burned:
        notes.append(f"{burned} images say that text is burned into their pixels: look at them before sharing")
    top = max(record.item["intensity_range"][1] for record in records)
    highest = max(record.highest for record in records)
    if 0 < highest * 4 < top:
        notes.append(f"no pixel exceeds {highest} of {top} possible: if fewer bits are used, say so with --bits")
    found = findings(facts, labels, split_by == "image")
    names = {one.item["image_sha256"]: one.case for members in facts.values() for one in members}
    return [*notes, *found.errors, *found.warnings, *(_flips(records, names) if flip != "none" else [])]


def _flips(records: Sequence[Record], names: Mapping[str, str]) -> list[str]:
    notes = [f"{sum(record.item['flipped'] for record in records)} images and their labels were mirrored"]
    for remark, text in (
        ("disagrees", "images are brighter on the other side than their laterality says, look at them"),
        ("unknown", "images do not say on which side their breast is, and were left as they are"),
    ):
        such = [names[record.item["image_sha256"]] for record in records if record.flip_remark == remark]
        if such:
            notes.append(f"{len(such)} {text}: {', '.join(such[:5])}{' …' if len(such) > 5 else ''}")
    return notes
