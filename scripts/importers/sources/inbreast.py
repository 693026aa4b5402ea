"""Import INbreast: digital mammograms with outlines of findings and of the pectoral muscle.

Sources: Moreira et al., Acad Radiol 19(2):236-248, 2012; the files of the release as read by published loaders. The
data are not public: they are given on personal request and may not be passed on.

    AllDICOMs/<id>_<person>_MG_<L|R>_<CC|ML>_ANON.dcm       "ML" there is MLO in the release's own table
    AllXML/<id>.xml                                          findings; no file for an image without a finding
    PectoralMuscle/Pectoral Muscle XML/<id>_muscle.xml       the muscle's edge, in MLO views
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from scripts.importers.import_options import DEFAULTS, ImportOptions
from scripts.importers.labels.classes import ClassTable, fixed_table
from scripts.importers.labels.merge import Tally, checked_smooth
from scripts.importers.labels.point_radius import POINT_RADIUS
from scripts.importers.sources.inbreast_draw import Settings, read_label
from scripts.importers.sources.inbreast_xml import MUSCLE, NAMELESS, read_rois
from scripts.importers.writing.cases import Case, checked_pattern, dicom_among, find_images, subject_key
from scripts.importers.writing.progress import with_progress
from scripts.importers.writing.writer import Summary, write_dataset
from transforms.errors import UserError
from transforms.reading.find_files import files_below
from transforms.reading.mammogram import Mammogram, read_mammogram
from transforms.reading.names import stem
from transforms.vocabulary import plain

CLASSES = ("background", MUSCLE, "asymmetry", "distortion", "spiculated region", "mass", "calcification")
# Other names in the release, including typos, to the class they mean
ALIASES = {
    "assymetry": "asymmetry",
    "espiculated region": "spiculated region",
    "cluster": "calcification",
    NAMELESS: "calcification",
    "point 1": "calcification",
    "point 3": "calcification",
}
GUESSED = (NAMELESS, "point 1", "point 3")  # not names of findings; most are calcifications in published loaders
LICENCE = "given to the person who asked for it: do not pass on, neither the images nor what is made of them"
REFERENCE = (
    "Moreira et al., INbreast: toward a full-field digital mammographic database, Acad Radiol 19(2):236-248, 2012"
)
_IMAGE = re.compile(r"(?P<id>\d{6,})(?:_(?P<person>[0-9A-Za-z]+)_MG_(?P<side>[LR])_(?P<view>[A-Z]+)(?:_ANON)?)?")
_XML = re.compile(r"(?P<id>\d{6,})(?P<muscle>_muscle)?\.xml(?:\.gz|\.zip)?", re.IGNORECASE)
_OTHER_XML = re.compile(r"(?P<id>\d{6,})(?!\d).*\.xml(?!\w).*", re.IGNORECASE)  # such as "… (1).xml" and ".xml.7z"


@dataclass
class _Found:
    """Annotation files by the id at the beginning of their name, and remarks on them."""

    findings: dict[str, Path] = field(default_factory=dict)
    muscles: dict[str, Path] = field(default_factory=dict)
    remarks: Counter[str] = field(default_factory=Counter)


def import_inbreast(
    images: Path,
    out: Path,
    options: ImportOptions = DEFAULTS,
    *,
    merge: Mapping[str, str] | None = None,
    precedence: Sequence[str] | None = None,
    radius: float = POINT_RADIUS,
    smooth: float = 0.0,
    task: str = "anatomy",
) -> Summary:
    """Write a dataset folder from the INbreast release.

    Args:
        images: the folder that holds AllDICOMs, AllXML and PectoralMuscle.
        merge, task: see `classes.fixed_table`. Unknown names of regions can be merged as well.
        precedence: class names, highest first. None: the muscle is lowest, and of findings the smaller one wins.
        radius: radius in pixels of the disk drawn for a region of one or two points; 0 is the pixel itself.
        smooth: see `merge.Canvas`.
        options: its `subject` defaults to the second part of the DICOM file's name.

    Raises:
        UserError: no annotations, regions of unknown names, or a damaged annotation file.
    """
    images, out, pattern = Path(images), Path(out), checked_pattern(options.subject)
    if not 0.0 <= radius <= 100.0:
        raise UserError(f"--radius is {radius:g}; expected a number of pixels from 0 to 100")
    files = dicom_among(find_images(images, [out]))
    found, tally = _annotations(images, files), Tally()
    table = _table(found, merge or {}, precedence, task, options.progress)
    how = Settings(table, not precedence, radius, checked_smooth(smooth))
    read = partial(read_image, windowing=options.windowing, bits=options.bits, named=pattern is None)
    cases = [_case(path, images, pattern, found, read, how, tally) for path in files]
    summary = write_dataset(out, cases, options.with_terms(LICENCE, REFERENCE), labels=table.names)
    tally.report(summary)
    summary.notes += [f"{count} {what}" for what, count in sorted(found.remarks.items())]
    return summary


def _annotations(images: Path, files: Sequence[Path]) -> _Found:
    """Return the annotation files of the existing images."""
    found, ids = _Found(), {_id(path) for path in files}
    for path in files_below(images):
        parts = _XML.fullmatch(path.name)
        if not parts:
            other = _OTHER_XML.fullmatch(path.name)
            if other and other["id"] in ids:
                raise UserError(
                    f"{path}: annotations of this name or form are not read; expected {other['id']}.xml or "
                    f"{other['id']}_muscle.xml, also packed as .gz or .zip; rename, unpack or remove it"
                )
            continue
        if parts["id"] not in ids:
            found.remarks["annotation files belong to no image here"] += 1
            continue
        group = found.muscles if parts["muscle"] else found.findings
        if parts["id"] in group:
            raise UserError(f"{path}: {group[parts['id']]} annotates the same image; remove one of the two")
        group[parts["id"]] = path
    if not found.findings and not found.muscles:
        raise UserError(
            f"{images}: no annotations of its {len(files)} DICOM files; looked in it and below it for AllXML/<id>.xml "
            "and <id>_muscle.xml, with the id at the beginning of an image's name; specify the folder that holds "
            "AllDICOMs and AllXML"
        )
    return found


def _id(path: Path) -> str:
    parts = _IMAGE.fullmatch(stem(path))
    return parts["id"] if parts else ""


def _table(
    found: _Found, merge: Mapping[str, str], precedence: Sequence[str] | None, task: str, progress: bool
) -> ClassTable:
    """Return the classes after a lookup of all names in the files; one error lists all unknown names."""
    names: dict[str, list[Path]] = {}
    files = [*found.findings.values(), *found.muscles.values()]
    for path in with_progress(files, len(files), progress, "looking at names"):
        for name, _ in read_rois(path).areas:
            names.setdefault(plain(name), []).append(path)
    fixed = {plain(name) for name in (*CLASSES, *ALIASES)}
    extra = {old: new for old, new in merge.items() if plain(old) not in fixed and plain(old) in names}
    unknown = sorted(set(names) - fixed - {plain(old) for old in extra})
    if unknown:
        listing = ", ".join(f"{name} ({len(names[name])})" for name in unknown)
        known = ", ".join((*CLASSES[1:], *ALIASES))
        raise UserError(
            f"{names[unknown[0]][0]}: regions of unknown names: {listing}; known are {known}; specify their class with "
            f'--merge, as in "{unknown[0]}=background"'
        )
    table = fixed_table(CLASSES, merge, precedence, task, {**ALIASES, **extra})
    for name in GUESSED:
        if name in names and plain(name) not in map(plain, merge):
            found.remarks[f"regions are named {name!r}, and were taken as calcification"] = len(names[name])
    return table


def _case(
    path: Path,
    images: Path,
    pattern: str | None,
    found: _Found,
    read: partial[Mammogram],
    how: Settings,
    tally: Tally,
) -> Case:
    parts = _IMAGE.fullmatch(stem(path))
    number, side, view = (parts["id"], parts["side"], parts["view"]) if parts else ("", None, None)
    if parts and number not in found.findings:
        found.remarks["images have no file of findings, AllXML/<id>.xml, and count as normal"] += 1
    if view in ("ML", "MLO") and number not in found.muscles:
        found.remarks["MLO images have no outline of the muscle, which is background there"] += 1
    person = parts["person"] if parts and parts["person"] else path.name
    return Case(
        source=path,
        subject=subject_key(path, images, pattern) if pattern else person,
        read_image=partial(read, path),
        read_label=partial(read_label, found.findings.get(number), found.muscles.get(number), side, how, tally),
        tally=tally,
    )


def read_image(path: Path, windowing: str, bits: int | None, named: bool) -> Mammogram:
    """Read the image; its view ML is MLO, as in the release's table.

    Args:
        named: whether its name must identify the person.
    """
    parts = _IMAGE.fullmatch(stem(path))
    if not parts or (named and not parts["person"]):
        raise UserError(
            f"{path}: its name is not of the form <id>_<person>_MG_<L or R>_<view>_ANON.dcm, so its annotations and "
            "the person's other images are unknown; restore the release's names"
        )
    image = read_mammogram(path, windowing, bits)
    return replace(
        image, view="MLO" if image.view == "ML" else image.view, laterality=image.laterality or parts["side"]
    )
