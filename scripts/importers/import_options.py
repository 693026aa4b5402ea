"""Options shared by all importers, each declared once: name, type, default, and command-line help."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from transforms.errors import UserError
from transforms.flip import FLIPS
from transforms.reading.limits import MEGAPIXELS, MEMORY_GB

SOURCE_OPTIONS = ("subject", "validation", "test", "split", "split_by", "subject_key", "windowing", "bits")
"""Options that a dataset folder determines itself if it is the source."""

INTENTS = ("presentation", "processing", "both")
PANEL = "Options of all formats"
MERGE = "merge"
"""Value of `--shard` that finishes an import whose parts are done."""


def _option(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=PANEL, **settings)


@dataclass(frozen=True)
class ImportOptions:
    """Options for making a dataset folder from any source.

    Attributes:
        subject: pattern, see `cases.subject_key`.
        validation: share of the subjects (or images) for the section "validation".
        test: share for the section "test".
        split: CSV file that assigns each subject or image, see `given_split`; or a word specific to the format.
        seed: random seed of the split.
        split_by: "subject", or "image" as in the paper, which is optimistic if subjects have several images.
        windowing, bits: see `read_mammogram`.
        subject_key: file with a key, with which a keyed hash of each subject is stored, see `subject_hash`.
        flip: "left" or "right" mirrors images and labels whose breast is on the other side.
        name: name of the dataset; None: that of the output folder.
        licence, reference: terms of the data, and publication to cite.
        overwrite: replace the output folder if it is a dataset folder.
        strict: an unreadable image is an error; else it is listed in the summary and left out.
        workers: reader processes; each holds one image. None: one per processor, at most 4, if worthwhile. The result
            is byte-identical. More than one needs cases that can be pickled.
        intent: of images stored FOR PROCESSING and FOR PRESENTATION, the kind to keep, or "both".
        max_megapixels, max_memory_gb: larger images are refused, see `transforms.reading.limits`.
        shard: "2/3" does the second of three parts of the import, "merge" finishes it; see `writing.shards`.
        dry_run: only read the files' headers and report what would be written.
        progress: show a progress bar.

    Raises:
        UserError: an option has an invalid value.
    """

    subject: Annotated[
        str | None,
        _option(
            help="Regular expression for the subject in a path. Default: PatientID, else the name minus side and view."
        ),
    ] = None
    validation: Annotated[float, _option(help="Fraction of the subjects for validation.")] = 0.3
    test: Annotated[float, _option(help="Fraction of the subjects for a test section.")] = 0.0
    split: Annotated[
        str | None,
        _option(
            help="FILE.csv: subject or image, and section or fold. Also csaw-s: suggested, drawn; cbis-ddsm: official, "
            "drawn."
        ),
    ] = None
    seed: Annotated[int, _option(help="Random seed of the split, or of crops.")] = 0
    split_by: Annotated[
        str, _option("--split_by", help="subject, or image as in the paper: optimistic if subjects have several.")
    ] = "subject"
    windowing: Annotated[
        str, _option(help="voi (the DICOM's own), none, or percentile (0.5 to 99.5 of each image).")
    ] = "voi"
    bits: Annotated[int | None, _option(min=1, max=16, help="Bits used in 16-bit pictures, such as 12.")] = None
    subject_key: Annotated[
        str | None,
        _option("--subject_key", help="File with a secret key: store a keyed hash per subject, to match data sets."),
    ] = None
    flip: Annotated[
        str, _option(help="left or right: mirror images so that every breast is on that side; none: as stored.")
    ] = "none"
    name: Annotated[str | None, _option(help="Name of the dataset. Default: that of OUT.")] = None
    licence: Annotated[str, _option(help="License of the data.")] = ""
    reference: Annotated[str, _option(help="Publication to cite.")] = ""
    overwrite: Annotated[bool, _option("--overwrite", help="Replace OUT if it is a dataset folder.")] = False
    strict: Annotated[bool, _option("--strict", help="Stop at an unreadable image, instead of leaving it out.")] = False
    workers: Annotated[
        int | None, _option(min=1, help="Reader processes. Default: 1; for many images, one per core, at most 4.")
    ] = None
    intent: Annotated[
        str,
        _option(
            help="Version of a view stored FOR PRESENTATION and FOR PROCESSING: presentation, processing, or both."
        ),
    ] = "presentation"
    max_megapixels: Annotated[
        float, _option("--max_megapixels", help="Refuse larger images; mammograms have at most 30 megapixels.")
    ] = MEGAPIXELS
    max_memory_gb: Annotated[float, _option("--max_memory_gb", help="Refuse images that need more memory to read.")] = (
        MEMORY_GB
    )
    shard: Annotated[
        str | None,
        _option(help="2/3: only the second of three parts, on any machine. merge: make OUT from the finished parts."),
    ] = None
    dry_run: Annotated[bool, _option("--dry_run", help="Report what would be written, from headers alone.")] = False
    progress: bool = True

    def __post_init__(self) -> None:
        """Check the values."""
        if self.split_by not in ("subject", "image"):
            raise UserError(f"--split_by is {self.split_by!r}; expected subject or image")
        if not 0.0 < self.validation < 1.0:
            raise UserError(f"--validation is {self.validation:g}; expected a share between 0 and 1, such as 0.3")
        if not 0.0 <= self.test < 1.0 - self.validation:
            raise UserError(
                f"--test is {self.test:g}, --validation {self.validation:g}; expected shares whose sum is below 1, "
                "such as 0.2 and 0.2"
            )
        if self.split is not None and self.test:
            raise UserError("--test: --split already specifies the test section; remove --test")
        if self.flip not in FLIPS:
            raise UserError(f"--flip is {self.flip!r}; expected {', '.join(FLIPS)}")
        if self.intent not in INTENTS:
            raise UserError(f"--intent is {self.intent!r}; expected one of {', '.join(INTENTS)}")

        if self.shard not in (None, MERGE):
            part_of(self.shard)

    def with_terms(self, licence: str, reference: str) -> ImportOptions:
        """Return these options, with terms and reference of a published dataset as defaults."""
        return replace(self, licence=self.licence or licence, reference=self.reference or reference)


def part_of(shard: str | None) -> tuple[int, int]:
    """Parse "2/3" as (2, 3): the second of three parts.

    Raises:
        UserError: the text has another form.
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", shard or "")
    number, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise UserError(f"--shard is {shard!r}; expected a part such as 2/3, from 1/3 to 3/3, or {MERGE}")
    return number, count


DEFAULTS = ImportOptions()
