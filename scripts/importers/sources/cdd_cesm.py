"""Import CDD-CESM: contrast-enhanced and low-energy mammograms with radiologists' outlines of findings.

Sources: The Cancer Imaging Archive, doi 10.7937/29kw-ae92, CC BY 4.0; Khaled et al., Scientific Data 9:122 (2022), doi
10.1038/s41597-022-01238-0.

    CDD-CESM/Low energy images of CDD-CESM/P1_L_DM_MLO.jpg       close to an ordinary digital mammogram
    CDD-CESM/Subtracted images of CDD-CESM/P1_L_CM_MLO.jpg       the contrast agent's image of the same breast
    Radiology-manual-annotations.xlsx                            pathology, density, findings, … per image
    Radiology_hand_drawn_segmentations_v2.csv                    outlines of findings

An outline does not state which finding it shows: whether outlines count as tumor is decided per image, from its row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from scripts.importers.import_options import DEFAULTS, ImportOptions
from scripts.importers.labels.merge import Tally
from scripts.importers.sources.cdd_cesm_findings import PATHOLOGIES, attributes, checked_findings, named_findings
from scripts.importers.sources.cdd_cesm_tables import ImageId, Row, Tables, read_tables
from scripts.importers.sources.via_outlines import (
    Box,
    Outline,
    check_outlines,
    check_overhang,
    draw_outlines,
    union_box,
)
from scripts.importers.writing.cases import Case, Label, checked_pattern, find_images, subject_key
from scripts.importers.writing.writer import Summary, write_dataset
from transforms.dataset import VOID
from transforms.errors import UserError
from transforms.reading.mammogram import Mammogram, read_mammogram
from transforms.reading.names import stem

CLASSES = ("background", "tumor")
BACKGROUND, TUMOR = 0, 1
ENERGIES = {"low": ("low",), "subtracted": ("subtracted",), "both": ("low", "subtracted")}
BENIGN = {"background": BACKGROUND, "tumor": TUMOR, "ignore": VOID}
"""Class of the pixels inside the outlines of a benign image."""

LICENCE = "CC BY 4.0"
REFERENCE = (
    "Khaled et al., Categorized contrast enhanced mammography dataset for diagnostic and artificial intelligence "
    "research, Scientific Data 9:122 (2022), doi:10.1038/s41597-022-01238-0; data: doi:10.7937/29kw-ae92"
)


@dataclass(frozen=True)
class _Rules:
    """Rules for importing an image.

    Attributes:
        findings: findings that count as tumor; None: all.
        benign: class of a benign image's outlines.
        energies: energies of the images to import.
    """

    findings: frozenset[str] | None
    benign: int
    energies: Sequence[str]

    def target(self, row: Row) -> int:
        """Return the class of the pixels inside an image's outlines.

        They are ignored in a malignant image with a finding outside `findings`, since it is unknown which outline shows
        which finding, and in an image that has an outline although its row calls it normal.
        """
        if row.pathology == "normal":
            return VOID
        target = TUMOR if row.pathology == "malignant" else self.benign
        named = named_findings(row)
        if target == TUMOR and self.findings is not None and not (named and set(named) <= self.findings):
            return VOID
        return target


@dataclass
class _Found:
    """The release: tables, files by image, and remarks."""

    tables: Tables
    files: dict[ImageId, Path]
    remarks: Counter[str] = field(default_factory=Counter)


def import_cdd_cesm(
    images: Path,
    out: Path,
    options: ImportOptions = DEFAULTS,
    *,
    tables: Path | None = None,
    energy: str = "low",
    findings: Sequence[str] = (),
    benign: str = "background",
) -> Summary:
    """Write a dataset folder from the CDD-CESM release.

    Args:
        images: the folder with the images, in any subfolders.
        tables: the folder with the two tables; None: they are below `images`.
        energy: "low", "subtracted" or "both"; both images of a woman are in one section.
        findings: names of `FINDINGS` that count as tumor; empty or ["all"]: every outlined finding. Malignant images
            that also name others are ignored inside their outlines.
        benign: class of benign outlines: "background", "tumor" (with the same `findings`) or "ignore".
        options: its `subject` defaults to the woman's number.

    Raises:
        UserError: a table or all images are missing, bad options, or a damaged table.
    """
    images, out, pattern = Path(images), Path(out), checked_pattern(options.subject)
    if energy not in ENERGIES:
        raise UserError(f"--energy is {energy!r}; expected {', '.join(ENERGIES)}")
    if benign not in BENIGN:
        raise UserError(f"--benign is {benign!r}; expected {', '.join(BENIGN)}")
    if energy == "both" and options.split_by != "subject":
        raise UserError(
            "--energy both with --split_by image: the low-energy and the subtracted image of a breast would be in "
            "two sections; use --split_by subject, or one energy"
        )
    rules = _Rules(checked_findings(findings), BENIGN[benign], ENERGIES[energy])
    found, tally = _release(images, Path(tables) if tables else images, out, rules), Tally()
    cases = []
    for image, path in sorted(found.files.items()):
        target = _target(found, image, path, rules)
        if target is not None:
            key = subject_key(path, images, pattern) if pattern else image.woman
            cases.append(_case(found, image, path, key, target, tally, options))
    if not cases:
        raise UserError(f"{images}: none of its {len(found.files)} images is annotated; {_listed(found.remarks)}")
    painted = any(isinstance(case.read_label, partial) and case.read_label.args[2] == VOID for case in cases)
    summary = write_dataset(
        out,
        cases,
        options.with_terms(LICENCE, REFERENCE),
        labels=CLASSES,
        ignore_label=VOID if painted else None,
    )
    tally.report(summary)
    summary.notes += [f"{count} {what}" for what, count in sorted({**found.tables.remarks, **found.remarks}.items())]
    return summary


def _listed(remarks: Counter[str]) -> str:
    return "; ".join(f"{count} {what}" for what, count in sorted(remarks.items())) or "the tables name others"


def _release(images: Path, tables: Path, out: Path, rules: _Rules) -> _Found:
    """Return the files of the requested energies by image, and both tables."""
    paths = find_images(images, [out])
    found = _Found(read_tables(tables), {})
    others = 0
    for path in paths:
        image = ImageId.parse(stem(path))
        if image is None:
            found.remarks["files are not named as in the release (P1_L_DM_MLO.jpg), and were left out"] += 1
        elif image.energy not in rules.energies:
            others += 1
        elif image in found.files:
            raise UserError(f"{path}: {found.files[image]} is the same image of the release; remove one of the two")
        else:
            found.files[image] = path
    if not found.files:
        raise UserError(
            f"{images}: no image P<woman>_<L or R>_<DM or CM>_<view>.jpg of --energy {' or '.join(rules.energies)} "
            f"among {len(paths)} files ({others} of the other energy); specify the folder of the release"
        )
    absent = sum(image.energy in rules.energies and image not in found.files for image in found.tables.rows)
    if absent:
        found.remarks["images of the annotations are not in the folder"] = absent
    return found


def _target(found: _Found, image: ImageId, path: Path, rules: _Rules) -> int | None:
    """Return the class of an image's outlines, or None if the image is left out; the reason is counted."""
    row, outlined = found.tables.rows.get(image), image in found.tables.outlines
    if row is None or row.pathology not in PATHOLOGIES:
        found.remarks["images have no row with a pathology in the annotations, and were left out"] += 1
        return None
    target = rules.target(row)
    if not outlined and target != BACKGROUND and row.pathology != "normal":
        found.remarks[f"{row.pathology} images have no outline, and were left out"] += 1
        return None
    if outlined and row.pathology == "normal":
        found.remarks["images are outlined, but called normal: their outlines are ignored pixels"] += 1
    elif outlined and target == VOID:
        found.remarks[f"{row.pathology} images have outlines that do not count: they are ignored pixels"] += 1
    elif outlined and target == BACKGROUND:
        found.remarks["benign images have outlines that do not count: they are background"] += 1
    size = found.tables.sizes.get(image)
    if outlined and size and size != path.stat().st_size:
        found.remarks["files are not those that the outlines were drawn on (by their size in bytes): check a few"] += 1
    return target


def _case(
    found: _Found,
    image: ImageId,
    path: Path,
    subject: str,
    target: int,
    tally: Tally,
    options: ImportOptions,
) -> Case:
    outlines = tuple(found.tables.outlines.get(image, ()))
    box = union_box(outlines) if outlines else None
    return Case(
        source=path,
        subject=subject,
        read_image=partial(read_image, path, image, box, options.windowing, options.bits),
        read_label=partial(draw_label, path, outlines, target if outlines else BACKGROUND, tally),
        tally=tally,
        recorded={"attributes": attributes(image, found.tables.rows[image])},
    )


def read_image(path: Path, image: ImageId, box: Box | None, windowing: str, bits: int | None) -> Mammogram:
    """Read the image, with side and view from its name.

    Args:
        box: bounding box of its outlines, or None.

    Raises:
        UserError: as in `read_mammogram`; or the outlines are far outside, as if the image had been resized.
    """
    read = read_mammogram(path, windowing, bits)
    if box is not None:
        check_overhang(path, box, (read.pixels.shape[0], read.pixels.shape[1]), "Use the release's own file")
    return replace(read, laterality=image.side, view=image.view)


def draw_label(path: Path, outlines: Sequence[Outline], target: int, tally: Tally, shape: tuple[int, int]) -> Label:
    """Return the label map (rows, columns) uint8: `target` inside the outlines, background elsewhere."""
    label = np.zeros(shape, np.uint8)
    if target != BACKGROUND:
        check_outlines(path, outlines, shape)
        label[draw_outlines(outlines, shape, tally)] = target
    return label
