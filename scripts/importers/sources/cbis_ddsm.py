"""Import CBIS-DDSM: digitized film mammograms with masks of masses and calcifications, from the archive's download.

Sources: Lee et al., Sci Data 4:170177 (2017); The Cancer Imaging Archive, doi 10.7937/K9/TCIA.2016.7O02S9CY, CC BY
3.0. Masks of another size than their image, and crops in place of masks, are known to users of the data:
github.com/fjeg/ddsm_tools issue 5, github.com/tensorflow/datasets (cbis_ddsm.py), github.com/lazatsoc/
cbis_ddsm_dataloader.

A view in the tables of both masses and calcifications is one image here, with both. A patient who is in training in one
table and in test in another is in training here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from scripts.importers.import_options import DEFAULTS, ImportOptions
from scripts.importers.labels.classes import ClassTable, fixed_table
from scripts.importers.labels.merge import Mask, Tally, checked_smooth, superpose
from scripts.importers.sources.cbis_ddsm_files import check_size, files_by_id, full_image, read_mask, resized
from scripts.importers.sources.cbis_ddsm_tables import Region, read_tables, region_attributes
from scripts.importers.writing.cases import Case, Label, checked_pattern, subject_key
from scripts.importers.writing.writer import Summary, write_dataset
from transforms.errors import UserError
from transforms.reading.mammogram import Mammogram, read_mammogram

CLASSES = ("background", "mass", "calcification")
LICENCE = "CC BY 3.0"
REFERENCE = (
    "Lee et al., A curated mammography data set for use in computer-aided detection and diagnosis research, Sci Data "
    "4:170177, 2017; doi 10.7937/K9/TCIA.2016.7O02S9CY"
)

Masks = tuple[tuple[str, str, tuple[Path, ...]], ...]
"""(class, PatientID of the region, its files) per region."""


@dataclass
class _View:
    """One image: a side and view of a patient, from all tables."""

    regions: list[Region]
    source: Path | None = None
    masks: Masks = ()
    incomplete: bool = False


@dataclass
class _Plan:
    """Images and sections of the tables, and the available files.

    Attributes:
        views: images by patient, side and view.
        sections: patient to "training" or "test".
        mixed: patients that the tables list in both.
    """

    views: dict[tuple[str, str, str], _View]
    sections: dict[str, str] = field(default_factory=dict)
    mixed: set[str] = field(default_factory=set)


def import_cbis_ddsm(
    images: Path,
    out: Path,
    options: ImportOptions = DEFAULTS,
    *,
    tables: Path | None = None,
    split: str = "official",
    merge: Mapping[str, str] | None = None,
    precedence: Sequence[str] | None = None,
    smooth: float = 0.0,
    task: str = "anatomy",
) -> Summary:
    """Write a dataset folder from the archive's download and its four tables.

    Args:
        images: the download, with folders of full images and of regions of interest.
        tables: folder of the four CSV files; None searches below `images`.
        split: "official" keeps the tables' test images as section "test", and validates on a part of the others;
            "drawn" ignores the tables' split.
        merge, precedence, task: see `classes.fixed_table`; in the task "tumor", masses are the tumor.
        smooth: see `merge.Canvas`.
        options: its `subject` defaults to the patient's number in the tables.

    Raises:
        UserError: the tables differ from the published form, or none of their images exists.
    """
    images, out, pattern = Path(images), Path(out), checked_pattern(options.subject)
    table, smooth = fixed_table(CLASSES, merge, precedence, task), checked_smooth(smooth)
    if split not in ("official", "drawn"):
        raise UserError(f"--split is {split!r}; expected official or drawn")
    regions, absent = read_tables(images if tables is None else Path(tables))
    plan = _planned(regions)
    _find_files(plan, files_by_id(images, out), images, table)
    tally = Tally()
    cases = [
        Case(
            source=view.source,
            subject=key[0] if pattern is None else subject_key(view.source, images, pattern),
            read_image=partial(read_image, view.source, view.masks, key[1], key[2], options.windowing, options.bits),
            read_label=partial(read_label, view.masks, table, tally, smooth),
            section="test" if split == "official" and plan.sections[key[0]] == "test" else None,
            tally=tally,
            recorded={"attributes": region_attributes(view.regions)},
        )
        for key, view in plan.views.items()
        if view.source is not None and not view.incomplete
    ]
    summary = write_dataset(out, cases, options.with_terms(LICENCE, REFERENCE), labels=table.names)
    tally.report(summary)
    summary.notes += _notes(plan, absent, len(regions), split)
    return summary


def _planned(regions: Sequence[Region]) -> _Plan:
    """Group regions by image, and assign one section per patient."""
    views: dict[tuple[str, str, str], _View] = {}
    stated: dict[str, set[str]] = defaultdict(set)
    for region in regions:
        views.setdefault((region.patient, region.side, region.view), _View([])).regions.append(region)
        stated[region.patient].add(region.section)
    sections = {patient: "training" if "training" in found else "test" for patient, found in stated.items()}
    return _Plan(views, sections, {patient for patient, found in stated.items() if len(found) > 1})


def _find_files(plan: _Plan, files: Mapping[str, list[Path]], images: Path, table: ClassTable) -> None:
    """Set each view's image and the files of its regions; the task "tumor" needs no calcifications."""
    for view in plan.views.values():
        wanted = [region for region in view.regions if not table.binary or table.known[region.kind] == 1]
        found = [key for key in dict.fromkeys(region.image_id for region in view.regions) if key in files]
        view.source = full_image(files[found[0]]) if found else None
        view.masks = tuple((one.kind, one.region_id, tuple(files.get(one.region_id, ()))) for one in wanted)
        view.incomplete = not all(paths for _, _, paths in view.masks)
    if not any(view.source and not view.incomplete for view in plan.views.values()):
        example = next(iter(plan.views.values())).regions[0]
        raise UserError(
            f"{images}: found none of the {len(plan.views)} images of the tables with its masks; looked for DICOM "
            f"files in folders such as {example.image_id} and {example.region_id}, found {', '.join(sorted(files)[:3])}"
            f"{' …' if len(files) > 3 else '' if files else 'none'}; specify the folder of the archive's own download, "
            "not of a copy as JPEG or PNG"
        )


def read_image(source: Path, masks: Masks, side: str, view: str, windowing: str, bits: int | None) -> Mammogram:
    """Read the image, provided that all its masks exist and fit; side and view as in the tables."""
    image = read_mammogram(source, windowing, bits)
    shape = image.pixels.shape
    for _, region, files in masks:
        check_size(region, read_mask(region, files, shape).shape, shape)
    return replace(image, laterality=side, view=view)


def read_label(masks: Masks, table: ClassTable, tally: Tally, smooth: float, shape: tuple[int, int]) -> Label:
    """Return the label map (rows, columns) uint8; regions of a class are drawn together."""
    kinds = dict.fromkeys(kind for kind, _, _ in masks)
    draws = {kind: partial(_draw, [one for one in masks if one[0] == kind], tally) for kind in kinds}
    return superpose(shape, draws, table, tally, smooth)


def _draw(masks: Sequence[tuple[str, str, tuple[Path, ...]]], tally: Tally, mask: Mask) -> None:
    for _, region, files in masks:
        found = read_mask(region, files, mask.shape)
        if found.shape != mask.shape:
            tally.notes["masks of another size than their image, and of its aspect, were resized to it"] += 1
        if not found.any():
            tally.notes["masks are empty"] += 1
        mask |= resized(found, mask.shape)


def _notes(plan: _Plan, absent: Sequence[str], regions: int, split: str) -> list[str]:
    """Describe the listed and the missing images, one line each."""
    views = plan.views
    by_section = {part: sum(plan.sections[patient] == part for patient, _, _ in views) for part in ("training", "test")}
    notes = [
        f"the tables list {len(views)} images of {len(plan.sections)} patients with {regions} regions: "
        f"{by_section['training']} of training, {by_section['test']} of test"
    ]
    if split == "official" and plan.mixed:
        moved = sum(patient in plan.mixed for patient, _, _ in views)
        notes.append(
            f"{len(plan.mixed)} patients are in training of one table and in test of another; all their images "
            f"({moved} in the tables) are in training"
        )
    missing = sum(view.source is None for view in views.values())
    incomplete = sum(view.source is not None and view.incomplete for view in views.values())
    for count, what in (
        (missing, "images of the tables have no file here"),
        (incomplete, "images have no file of a region's mask here, and were left out"),
    ):
        if count:
            notes.append(f"{count} {what}")
    if absent:
        notes.append(f"without the table{'s' if len(absent) > 1 else ''} {', '.join(absent)}")
    return notes
