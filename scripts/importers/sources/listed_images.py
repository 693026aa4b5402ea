"""Import of images whose annotations are in files that list many images by name (VIA, COCO).

Pixels outside all regions are the first class. Names in a file are never opened as paths, but looked up among the
images found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from scripts.importers.import_options import ImportOptions
from scripts.importers.labels.classes import ClassTable
from scripts.importers.labels.merge import Mask, Tally, checked_smooth, size_text, superpose
from scripts.importers.sources.coco_runs import Runs
from scripts.importers.sources.qupath_geojson import UNCLASSIFIED
from scripts.importers.sources.via_outlines import (
    Drawable,
    check_outlines,
    check_overhang,
    draw_outlines,
    union_box,
)
from scripts.importers.writing.cases import Case, Label, checked_pattern, find_images, subject_key
from scripts.importers.writing.writer import Summary, write_dataset
from transforms.dataset import VOID
from transforms.errors import UserError
from transforms.plain_text import same_name
from transforms.reading.find_files import files_below
from transforms.reading.limits import RUN_PIXELS
from transforms.reading.mammogram import read_mammogram
from transforms.reading.names import stem


@dataclass(frozen=True, eq=False)
class ListedImage:
    """One image of an annotation file.

    Attributes:
        source: the annotation file.
        name: name of the image in it, such as "a.png" or "train/a.png".
        shapes: (class, region); class None if the region has none.
        ignored: regions whose pixels are neither learned nor scored, except where other regions cover them.
        size: (rows, columns) stated in the file, or None.
        file_bytes: stated size of the image file in bytes, or None.
    """

    source: Path
    name: str
    shapes: tuple[tuple[str | None, Drawable], ...]
    ignored: tuple[Drawable, ...] = ()
    size: tuple[int, int] | None = None
    file_bytes: int | None = None


def annotation_files(path: Path, endings: Sequence[str]) -> list[Path]:
    """Return the file itself, or a folder's files with these suffixes, also compressed as .gz or .zip.

    Raises:
        UserError: the folder holds no such file.
    """
    if not path.is_dir():
        return [path]
    forms = tuple(f"{ending}{packed}" for ending in endings for packed in ("", ".gz", ".zip"))
    found = [file for file in files_below(path) if file.name.lower().endswith(forms)]
    if not found:
        raise UserError(f"{path}: holds no annotation file; expected *{' or *'.join(endings)}; specify the file itself")
    return found


def import_listed(
    images: Path,
    out: Path,
    options: ImportOptions,
    images_listed: Sequence[ListedImage],
    table: ClassTable,
    tally: Tally,
    *,
    unannotated: str,
    smooth: float,
) -> Summary:
    """Write a dataset folder from images and the content of annotation files.

    Args:
        images: folder of DICOM files or pictures, with subfolders.
        tally: counts from reading the annotation files.
        unannotated: treatment of an image that is not listed: "error", "background" (all first class), or "skip".
        smooth: see `merge.Canvas`.

    Raises:
        UserError: invalid options, an image without annotations, a region of an unknown class, or another size.
    """
    smooth = checked_smooth(smooth)
    if unannotated not in ("error", "background", "skip"):
        raise UserError(f"--unannotated is {unannotated!r}; expected error, background or skip")
    pattern = checked_pattern(options.subject)
    for one in images_listed:
        table.ids(one.source, [name for name, _ in one.shapes if name is not None])
    found = match(images, find_images(images, [out]), images_listed, tally)
    cases = []
    for path, entry in found.items():
        if entry is None and not _without_annotations(path, images_listed[0].source, unannotated, tally):
            continue
        if entry is not None and entry.file_bytes not in (None, path.stat().st_size):
            tally.notes["files are not those that were annotated (by their size in bytes): check a few"] += 1
        cases.append(
            Case(
                source=path,
                subject=subject_key(path, images, pattern),
                read_image=partial(read_mammogram, path, options.windowing, options.bits),
                read_label=partial(draw_label, path, entry, table, tally, smooth),
                tally=tally,
            )
        )
    ignore = VOID if any(one.ignored for one in images_listed) else None
    summary = write_dataset(out, cases, options, labels=table.names, ignore_label=ignore)
    tally.report(summary)
    return summary


def _without_annotations(path: Path, source: Path, unannotated: str, tally: Tally) -> bool:
    """Count an image that no file lists; return whether it is imported."""
    if unannotated == "error":
        raise UserError(
            f"{path}: is not listed in {source}; annotate it, or specify --unannotated background (no region) or skip"
        )
    done = "were skipped" if unannotated == "skip" else "became background"
    tally.notes[f"images without annotations {done}"] += 1
    return unannotated == "background"


def match(
    root: Path, paths: Sequence[Path], images_listed: Sequence[ListedImage], tally: Tally
) -> dict[Path, ListedImage | None]:
    """Match listed images to files: by path below `root`, else by name, else by name without suffix.

    Raises:
        UserError: a name outside the folder, two entries for one image, or no match at all.
    """
    places = [_places(path.relative_to(root).as_posix()) for path in paths]
    known: list[dict[str, Path]] = []
    for level in zip(*places, strict=True):
        often = Counter(level)
        known.append({key: path for key, path in zip(level, paths, strict=True) if often[key] == 1})
    found: dict[Path, ListedImage | None] = dict.fromkeys(paths)
    for one in images_listed:
        keys = _places(_inside(one))
        path = next((there[key] for there, key in zip(known, keys, strict=True) if key in there), None)
        if path is None:
            tally.notes["images of the annotations are not in the folder"] += 1
            continue
        other = found[path]
        if other is not None:
            raise UserError(
                f"{one.source}: {other.name!r}{_of(other, one)} and {one.name!r} are both {path}; keep one, or "
                "give the images different names"
            )
        found[path] = one
    if not any(found.values()):
        names = _some([one.name for one in images_listed])
        source = f"{images_listed[0].source}: " if images_listed else ""
        raise UserError(
            f"{source}none of the {len(paths)} images in {root} is listed; it lists {names}; the folder holds "
            f"{_some([path.name for path in paths])}; specify the folder that was annotated"
        )
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" … ({len(names)})" if len(names) > 4 else "") if names else "none"


def _of(other: ListedImage, one: ListedImage) -> str:
    return "" if other.source == one.source else f" of {other.source}"


def _places(name: str) -> tuple[str, str, str]:
    """Return the lookup keys of an image, the most specific first."""
    path = PurePosixPath(same_name(name))
    return path.as_posix(), path.name, stem(Path(path.name))


def _inside(one: ListedImage) -> str:
    """Return the name with "/" between folders.

    Raises:
        UserError: the name is outside the folder.
    """
    name = one.name.replace("\\", "/")
    if name.startswith("/") or PureWindowsPath(name).drive or ".." in name.split("/"):
        raise UserError(
            f"{one.source}: names the image {one.name!r}, outside the folder of the images; expected a path below it, "
            "or only a name; correct the file"
        )
    return name


def draw_label(
    path: Path, one: ListedImage | None, table: ClassTable, tally: Tally, smooth: float, shape: tuple[int, int]
) -> Label:
    """Return the label map (rows, columns) uint8 of an image; `one` is None for an image without annotations."""
    if one is None:
        return np.zeros(shape, np.uint8)
    regions = list(_classified(one, table, tally))
    if not regions and not one.ignored:
        tally.notes["images are listed without a region of a class, and became background"] += 1
    _check_fit(path, one, [*(region for _, region in regions), *one.ignored], shape)
    members: dict[str, list[Drawable]] = {}
    for name, region in regions:
        members.setdefault(name, []).append(region)
    label = superpose(
        shape, {name: partial(_draw, group, tally) for name, group in members.items()}, table, tally, smooth
    )
    if one.ignored:
        label[draw_outlines(one.ignored, shape, tally) & (label == 0)] = VOID
    return label


def _classified(one: ListedImage, table: ClassTable, tally: Tally) -> Iterator[tuple[str, Drawable]]:
    for name, region in one.shapes:
        if name is not None:
            yield name, region
        elif UNCLASSIFIED in table.known:
            yield UNCLASSIFIED, region
        else:
            tally.notes["regions have no class, and were skipped"] += 1


def _check_fit(path: Path, one: ListedImage, regions: Sequence[Drawable], shape: tuple[int, int]) -> None:
    """Refuse annotations of another size, or that would take minutes to draw."""
    sizes = {one.size, *(region.size for region in regions if isinstance(region, Runs))} - {None}
    for size in sizes:
        if size != shape:
            raise UserError(
                f"{path}: is {size_text(shape)} (rows x columns), its annotations in {one.source} are of "
                f"{size_text(size or ())}; specify the images that were annotated"
            )
    if regions and not sizes:
        check_overhang(path, union_box(regions), shape, "Specify the images that were annotated")
    check_outlines(path, regions, shape)
    runs = sum(region.pixels for region in regions if isinstance(region, Runs))
    if runs > RUN_PIXELS:
        raise UserError(f"{path}: its masks cover {runs} pixels of columns; expected at most {RUN_PIXELS}")


def _draw(regions: Sequence[Drawable], tally: Tally, mask: Mask) -> None:
    mask |= draw_outlines(regions, mask.shape, tally)  # type: ignore[arg-type]
