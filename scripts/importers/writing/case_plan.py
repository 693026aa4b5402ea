"""Dry run of an import, from the files' headers only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scripts.importers.writing.cases import Case
from scripts.importers.writing.finished_cases import Record
from scripts.importers.writing.process_case import Rules
from transforms.errors import UserError
from transforms.reading.dicom import transfer_syntax
from transforms.reading.limits import limited
from transforms.reading.mammogram import probe_mammogram


def probe(cases: Sequence[Case], rules: Rules) -> Iterator[Record]:
    """Yield a record per case that states only whether its header describes a readable image."""
    for case in cases:
        record = Record("", syntax=transfer_syntax(case.source), item={"laterality": None, "view": None})
        try:
            with limited(rules.limits):
                probe_mammogram(case.source)
        except UserError as error:
            if rules.strict:
                raise
            record.rejected = str(error)
        yield record
