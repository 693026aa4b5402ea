"""Import CSAW-S: mammograms with one binary PNG mask per structure; test images annotated by three experts.

Sources: Matsoukas et al., ICML 2020 (arXiv 2008.00807); its code for the folder layout, the class files and their
precedence (github.com/ChrisMats/CSAW-S: csaws_creation/settings.py, generate_segmentation_maps.py,
suggested_validation_split.json) and for the gold standard (github.com/ChrisMats/seemingly_uninformative_labels,
src/datasets.py). The data: zenodo.org/record/4030660, CC BY-NC-ND 4.0.

Differences from that code: a file's class is exactly the part of its name after the image's id, while that code also
matches a class word anywhere in the path; class ids run from the lowest precedence to the highest, from 0 = background
to 11 = cancer, as in all dataset folders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path

from scripts.importers.import_options import DEFAULTS, ImportOptions
from scripts.importers.labels.annotators import agreement_notes, count_agreement, majority
from scripts.importers.labels.classes import ClassTable, fixed_table
from scripts.importers.labels.merge import Mask, Tally, checked_smooth, size_text, superpose
from scripts.importers.sources.csaw_s_files import CLASSES, Masks, Scan, find_root, find_scans, header
from scripts.importers.writing.cases import Case, Label, checked_pattern, subject_key
from scripts.importers.writing.writer import Summary, write_dataset
from transforms.errors import UserError
from transforms.reading.find_files import check_there
from transforms.reading.mammogram import Mammogram, read_mammogram
from transforms.reading.pictures import read_picture

LICENCE = "CC BY-NC-ND 4.0: do not distribute crops, label maps or other adaptations"
REFERENCE = (
    "Matsoukas et al., Adding seemingly uninformative labels helps in low data regimes, ICML 2020, arXiv:2008.00807"
)
# Patients of suggested_validation_split.json; test patients have a separate numbering and are other people
VALIDATION = frozenset(
    f"{number:03d}" for number in (0, 1, 12, 18, 25, 30, 34, 38, 53, 62, 68, 75, 83, 127, 131, 139, 156, 181, 245, 249)
)
ANNOTATORS = (1, 2, 3)
_DRAWN_BY = attrgetter("validation", "test", "split", "seed", "split_by")


@dataclass(frozen=True)
class Settings:
    """Settings for reading all images of one import."""

    table: ClassTable
    smooth: float
    windowing: str
    bits: int | None
    annotator: str


@dataclass
class Findings:
    """Findings from listing the files.

    Attributes:
        root: the folder that holds anonymized_dataset.
        pattern: pattern of the subject in a path, or None.
        remarks: counts by text.
        sets: number of mask sets, one per image and expert.
        missing: class to number of sets without its mask.
        sizes: one line per mask of another size than its image.
    """

    root: Path
    pattern: str | None
    remarks: Counter[str] = field(default_factory=Counter)
    sets: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    sizes: list[str] = field(default_factory=list)

    def subject(self, part: str, scan: Scan, source: Path) -> str:
        """Return a subject key that includes the part: training and test ids both begin at 001 for different people."""
        return f"{part} {subject_key(source, self.root, self.pattern) if self.pattern else scan.patient}"

    def usable(self, masks: Masks, source: Path) -> Masks:
        """Return the masks of the image's size, by class; record the others, and classes without a mask."""
        size = header(source)[1]
        result: Masks = {}
        for name, paths in masks.items():
            result[name] = []
            for path in paths:
                found = header(path)[1]
                if not size or not found or found == size:  # an unreadable file is reported when it is read
                    result[name].append(path)
                else:
                    self.sizes.append(
                        f"{path.parent.name}/{path.name} is {size_text(found)}, its image {size_text(size)}"
                    )
        self.sets += 1
        self.missing.update(set(CLASSES[1:]) - set(masks))
        return result

    def notes(self) -> list[str]:
        """Return one line per finding, for the summary."""
        notes = [f"{count} {what}" for what, count in sorted(self.remarks.items())]
        if self.missing:
            counts = ", ".join(f"{name} {self.missing[name]}" for name in CLASSES if self.missing[name])
            notes.append(f"missing masks, read as 'not in the image', of {self.sets} sets: {counts}")
        if self.sizes:
            more = f"; and {len(self.sizes) - 5} more" if len(self.sizes) > 5 else ""
            first = "; ".join(self.sizes[:5])
            what = "masks are of another size than their image and were left out (rows x columns)"
            notes.append(f"{len(self.sizes)} {what}: {first}{more}")
        return notes


def import_csaw_s(
    images: Path,
    out: Path,
    options: ImportOptions = DEFAULTS,
    *,
    annotator: str = "majority",
    split: str | None = None,
    merge: Mapping[str, str] | None = None,
    precedence: Sequence[str] | None = None,
    smooth: float = 0.0,
    task: str = "anatomy",
) -> Summary:
    """Write a dataset folder from the CSAW-S folder; its test images become the section "test".

    Args:
        images: the folder that holds anonymized_dataset and test_data.
        annotator: expert whose masks the test images get: "1", "2", "3", or "majority", see `annotators.majority`.
        split: "suggested" validates on the 20 patients that the authors suggest, "drawn" by `validation`, `seed` and
            `split_by`; None is "drawn" if one of these is not its default, else "suggested".
        merge, precedence, task: see `classes.fixed_table`.
        smooth: see `merge.Canvas`; 0 is also the authors' default.

    Raises:
        UserError: not a CSAW-S folder, invalid options, or a damaged mask.
    """
    images, out = Path(images), Path(out)
    table = fixed_table(CLASSES, merge, precedence, task)
    if annotator not in (*map(str, ANNOTATORS), "majority"):
        raise UserError(f"--annotator is {annotator!r}; expected 1, 2, 3 or majority")
    how = Settings(table, checked_smooth(smooth), options.windowing, options.bits, annotator)
    suggested = _suggested(split, options)
    found, tally = Findings(find_root(images), checked_pattern(options.subject)), Tally()
    cases = _training_cases(found, how, tally, suggested) + _test_cases(found, how, tally)
    summary = write_dataset(out, cases, options.with_terms(LICENCE, REFERENCE), labels=table.names)
    tally.report(summary)
    summary.notes += found.notes() + agreement_notes(tally, table.names)
    if suggested:
        summary.notes.append("validated on the patients that the authors suggest; --split drawn draws others")
    return summary


def _suggested(split: str | None, options: ImportOptions) -> bool:
    drawn = _DRAWN_BY(options) != _DRAWN_BY(DEFAULTS)
    if split not in (None, "suggested", "drawn"):
        raise UserError(f"--split is {split!r}; expected suggested or drawn")
    if split == "suggested" and drawn:
        raise UserError("--split suggested cannot be combined with --validation, --seed or --split_by; remove these")
    return split == "suggested" or (split is None and not drawn)


def _check_suggested(root: Path, cases: Sequence[Case]) -> None:
    sections = {case.section for case in cases}
    if len(sections) < 2:
        raise UserError(
            f"{root}: holds {'none of' if 'training' in sections else 'only'} the patients of the suggested validation "
            f"split ({', '.join(sorted(VALIDATION)[:3])}, …); complete the download, or specify --split drawn"
        )


def _training_cases(found: Findings, how: Settings, tally: Tally, suggested: bool) -> list[Case]:
    cases = []
    for scan in find_scans(found.root / "anonymized_dataset", found.remarks).values():
        source = scan.source
        if source is None:
            found.remarks["scans have masks, but no image"] += 1
            continue
        section = "validation" if scan.patient in VALIDATION else "training"
        masks = found.usable(scan.masks, source) if scan.masks else {}
        cases.append(
            Case(
                source=source,
                subject=found.subject("train", scan, source),
                read_image=partial(_read_image, source, bool(masks), how),
                read_label=partial(flatten, masks, how, tally),
                section=section if suggested else None,
                tally=tally,
            )
        )
    if suggested:
        _check_suggested(found.root, cases)
    return cases


def _read_image(source: Path, annotated: bool, how: Settings) -> Mammogram:
    if not annotated:
        raise UserError(f"{source}: no mask of any class beside it, so its classes are unknown; add its masks")
    return read_mammogram(source, how.windowing, how.bits)


def _test_cases(found: Findings, how: Settings, tally: Tally) -> list[Case]:
    """Return the test images, if the folder exists, each with the masks of the experts who annotated it."""
    folder, cases = found.root / "test_data", []
    if not (folder / "anonymized_dataset").is_dir():
        return []
    experts: dict[int, dict[str, Scan]] = {}
    for expert in ANNOTATORS:
        masks = folder / f"annotator_{expert}"
        if masks.is_dir():
            experts[expert] = find_scans(masks, found.remarks, masks_only=True)
        else:
            found.remarks[f"expert's masks are not there: no folder test_data/annotator_{expert}"] += 1
    for image, scan in find_scans(folder / "anonymized_dataset", found.remarks).items():
        source = scan.source
        if source is None:
            continue
        sets = {k: scans[image].masks for k, scans in experts.items() if image in scans and scans[image].masks}
        sets = {k: found.usable(masks, source) for k, masks in sets.items()}
        enough = len(sets) >= 2 if how.annotator == "majority" else int(how.annotator) in sets
        if not enough:  # an image without label would prevent scoring of the whole section
            found.remarks["test images have too few masks for --annotator, and were left out"] += 1
            continue
        cases.append(
            Case(
                source=source,
                subject=found.subject("test", scan, source),
                read_image=partial(_read_image, source, True, how),
                read_label=partial(_read_test, sets, how, tally),
                section="test",
                tally=tally,
            )
        )
    return cases


def _read_test(sets: Mapping[int, Masks], how: Settings, tally: Tally, shape: tuple[int, int]) -> Label:
    """Return the chosen expert's map or the majority's; all maps are read, to count their agreement."""
    chosen = list(sets) if how.annotator == "majority" else [int(how.annotator)]
    aside = Tally()  # keeps the other experts' counts apart from those of the chosen one
    maps = {k: flatten(masks, how, tally if k in chosen else aside, shape) for k, masks in sets.items()}
    count_agreement(tally, maps, len(how.table.names))
    if how.annotator != "majority":
        return maps[int(how.annotator)]
    label, undecided = majority(list(maps.values()))
    tally.notes["test pixels are of a different class for each expert, and became background"] += undecided
    return label


def flatten(masks: Masks, how: Settings, tally: Tally, shape: tuple[int, int]) -> Label:
    """Return the label map (rows, columns) uint8 of one set of binary masks."""
    draws = {name: partial(_draw, paths) for name, paths in masks.items()}
    return superpose(shape, draws, how.table, tally, how.smooth)


def _draw(paths: Sequence[Path], mask: Mask) -> None:
    for path in paths:
        check_there(path)
        values, _ = read_picture(path, "mask")
        if values.shape != mask.shape:
            raise UserError(f"{path}: is {size_text(values.shape)}, its image {size_text(mask.shape)} (rows x columns)")
        mask |= values > 0  # the sources do not say whether masks hold 0 and 1 or 0 and 255
