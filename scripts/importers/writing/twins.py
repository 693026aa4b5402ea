"""Images stored twice by a device: FOR PROCESSING and FOR PRESENTATION.

Both show the same breast with different gray values (PS3.3 A.27.2); a network trained on both learns neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scripts.importers.writing.cases import Case
from scripts.importers.writing.finished_cases import Record

Pairs = list[tuple[Case, Record]]


def without_twins(pairs: Pairs, intent: str) -> tuple[Pairs, list[str]]:
    """Return the cases without those whose twin of the preferred kind exists, and notes.

    Twins are images of one subject, side and view, of both kinds.

    Args:
        pairs: cases and their records, in order.
        intent: the kind to keep if both exist, or "both".
    """
    kinds: dict[tuple[str, str, str], set[bool]] = {}
    for case, record in pairs:
        key = _view(case, record)
        if key is not None and record.processing is not None:
            kinds.setdefault(key, set()).add(record.processing)
    twins = {key for key, both in kinds.items() if len(both) == 2}
    unwanted = {"presentation": True, "processing": False, "both": None}[intent]
    kept = [
        (case, record)
        for case, record in pairs
        if unwanted is None or record.processing is not unwanted or _view(case, record) not in twins
    ]
    return kept, _notes(len(pairs) - len(kept), len(twins), intent, [record for _, record in kept])


def _view(case: Case, record: Record) -> tuple[str, str, str] | None:
    side, view = record.item.get("laterality"), record.item.get("view")
    return (case.subject, side, view) if side and view else None


def _notes(left_out: int, twins: int, intent: str, kept: Sequence[Record]) -> list[str]:
    notes = []
    if left_out:
        kind, other = ("processing", "presentation") if intent == "presentation" else ("presentation", "processing")
        notes.append(
            f"{left_out} images FOR {kind.upper()} were left out, as there is one FOR {other.upper()} of the view; "
            f"change this with --intent {kind} or both"
        )
    counts = Counter(record.processing for record in kept if record.processing is not None)
    if len(counts) == 2:
        text = f", {twins} views as both" if twins and intent == "both" else ""
        notes.append(
            f"{counts[True]} images are FOR PROCESSING and {counts[False]} FOR PRESENTATION{text}: their gray values "
            "differ, so do not train on both"
        )
    return notes
