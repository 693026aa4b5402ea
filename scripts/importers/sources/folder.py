"""Import images with label images: two folders, and a class per gray value of the label images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.importers.import_options import DEFAULTS, ImportOptions
from scripts.importers.labels.classes import TUMOR_TASK, task_is_tumor, tumor_flags
from scripts.importers.labels.foreign import beside
from scripts.importers.labels.label_images import check_palettes, read_label_image
from scripts.importers.writing.cases import Case, Label, checked_pattern, find_images, one_each, subject_key
from scripts.importers.writing.writer import Summary, write_dataset
from transforms.dataset import VOID, listed, unknown_values
from transforms.errors import UserError
from transforms.plain_text import same_name
from transforms.reading.mammogram import read_mammogram
from transforms.reading.names import stem


def import_folder(
    images: Path,
    labels: Path,
    out: Path,
    options: ImportOptions = DEFAULTS,
    *,
    values: Mapping[int, str] | None,
    ignore: Sequence[int] = (),
    suffix: str | None = None,
    unlabelled: str = "error",
    task: str = "anatomy",
) -> Summary:
    """Write a dataset folder from images and label images.

    Args:
        images, labels: folders; a label image has the name of its image, or that name and a suffix.
        values: gray value (or palette index) to class name. The first name is class 0; a repeated name joins two
            values in one class.
        ignore: gray values of pixels without a class; they are neither learned nor scored.
        suffix: suffix of a label's name after the image's name, such as "_LI"; None: detected.
        task: "anatomy" keeps all classes, "tumor" two: classes called tumor, cancer, mass or lesion, and the rest.
        unlabelled: treatment of an image without a label image: "error", "skip", or "keep" as test image.

    Raises:
        UserError: invalid options, a missing label image, unknown values in it, or another size.
    """
    images, labels, out, pattern = Path(images), Path(labels), Path(out), checked_pattern(options.subject)
    if unlabelled not in ("error", "skip", "keep"):
        raise UserError(f"--unlabelled is {unlabelled!r}; expected error, skip or keep")
    pairs, suffix = _pairs(
        find_images(images, [labels, out]), images, find_images(labels, [images, out]), labels, suffix
    )
    missing = [path for path, label in pairs if label is None]
    if missing and unlabelled == "error":
        raise UserError(
            f"{missing[0]}: no label image; looked for {stem(missing[0])}{suffix}.* in {labels} "
            f"({len(missing)} of {len(pairs)} images have none); add it, or specify --unlabelled skip or keep"
            f"{beside(missing[0], labels)}"
        )
    if not values:
        raise UserError(_suggest_values([label for _, label in pairs if label is not None]))
    names = list(dict.fromkeys(values.values()))
    if task_is_tumor(task):
        flags = dict(zip(names, tumor_flags(names), strict=True))
        values, names = {value: TUMOR_TASK[flags[text]] for value, text in values.items()}, list(TUMOR_TASK)
    table = _table(values, names, ignore)
    check_palettes([label for _, label in pairs if label is not None], [*values, *ignore])
    cases = [
        Case(
            source=path,
            subject=subject_key(path, images, pattern),
            read_image=partial(read_mammogram, path, options.windowing, options.bits),
            read_label=None if label is None else partial(read_label, label, table),
        )
        for path, label in pairs
        if label is not None or unlabelled == "keep"
    ]
    return write_dataset(
        out,
        cases,
        options,
        labels=names,
        ignore_label=VOID if ignore else None,
        source_values=[next(value for value, name in values.items() if name == label) for label in names],
    )


def read_label(path: Path, table: NDArray[np.int16], shape: tuple[int, int]) -> Label:
    """Return the label map (rows, columns) uint8 of one label image.

    Args:
        table: (256,) class id of each gray value, -1 for none.
        shape: shape of the image, also required of the label image.
    """
    label = read_label_image(path)
    values = label.values
    if values.shape != shape:
        raise UserError(
            f"{path}: is {values.shape[0]} x {values.shape[1]}, its image {shape[0]} x {shape[1]} (rows x "
            "columns); expected a label image of the same size as the image"
        )
    seen = _seen(values)
    if (seen & (table < 0)).any():
        other = label.in_other_scale() if label.bits < 8 else values
        if (_seen(other) & (table < 0)).any():
            bits = f" ({label.bits} bit per pixel)" if label.bits < 8 else ""
            raise UserError(unknown_values(f"{path}{bits}", seen, table >= 0))
        values = other
    return table.astype(np.uint8)[values]


def _seen(values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    seen = np.zeros(256, bool)
    seen[values] = True
    return seen


def _table(values: Mapping[int, str], names: Sequence[str], ignore: Sequence[int]) -> NDArray[np.int16]:
    wrong = [value for value in (*values, *ignore) if not 0 <= value <= 255]
    if wrong:
        raise UserError(f"the label value {wrong[0]} cannot occur; expected 0 to 255")
    both = sorted(set(values) & set(ignore))
    if both:
        raise UserError(f"the label value {both[0]} is named both in --values and in --ignore; choose one")
    if len(names) < 2:
        raise UserError(f"--values: expected two or more classes, as in 0=background,255=tumor; found {len(names)}")
    table = np.full(256, -1, np.int16)
    for value, name in values.items():
        table[value] = names.index(name)
    table[list(ignore)] = VOID
    return table


def _pairs(
    images: list[Path], image_root: Path, labels: list[Path], label_root: Path, suffix: str | None
) -> tuple[list[tuple[Path, Path | None]], str]:
    """Return (image, its label or None) pairs and the suffix.

    A label is looked up in the same subfolder, else among all labels that match no image in their subfolder.
    """
    if image_root.resolve() == label_root.resolve() and not suffix:
        raise UserError(f"{image_root}: holds images and labels; specify the suffix of the labels' names with --suffix")
    if suffix is None:
        suffix = _common_suffix(label_root, [_stem(path) for path in images], [_stem(path) for path in labels])
    if image_root.resolve() == label_root.resolve():
        images = [path for path in images if not _stem(path).endswith(suffix)]
        labels = [path for path in labels if _stem(path).endswith(suffix)]
    by_place: dict[tuple[str, str], Path] = {}
    for path in labels:
        other = by_place.setdefault((_place(path, label_root), _stem(path)), path)
        if other != path:
            raise UserError(f"{other}: {path.name} is a label image of the same name; keep the right one")
    alone = Counter(_stem(path) for path in labels)
    by_name = {_stem(path): path for path in labels if alone[_stem(path)] == 1}
    keys = [(_place(path, image_root), _stem(path) + suffix) for path in images]
    taken = {by_place[key] for key in keys if key in by_place}
    by_name = {name: path for name, path in by_name.items() if path not in taken}
    chosen = {path: by_place.get(key, by_name.get(key[1])) for path, key in zip(images, keys, strict=True)}
    return list(one_each(chosen).items()), suffix


def _stem(path: Path) -> str:
    return same_name(stem(path))


def _place(path: Path, root: Path) -> str:
    return same_name(path.parent.relative_to(root).as_posix())


def _common_suffix(label_root: Path, images: list[str], labels: list[str]) -> str:
    """Return the suffix that turns most image names into label names.

    Raises:
        UserError: two suffixes do so equally, for example if a folder also holds predictions.
    """
    known, found = set(images), Counter[str]()
    for label in labels:
        found.update(label[end:] for end in range(1, len(label) + 1) if label[:end] in known)
    order = sorted(found, key=lambda ending: (-found[ending], len(ending)))
    rivals = [ending for ending in order if found[ending] == found[order[0]]]
    if len(rivals) > 1 and len(images) > 1 and found[order[0]] > 1:
        listing = " and ".join(repr(ending) for ending in rivals[:5])
        raise UserError(
            f"{label_root}: {found[order[0]]} images have label images that end in {listing}; specify the right ones "
            "with --suffix"
        )
    return order[0] if order else ""


def _suggest_values(labels: list[Path]) -> str:
    seen = np.zeros(256, bool)
    for path in labels[:20]:
        label = read_label_image(path)
        seen[label.in_other_scale() if label.bits == 1 else label.values] = True
    found = np.flatnonzero(seen).tolist()
    example = ",".join(f"{value}={'background' if not i else f'name{i}'}" for i, value in enumerate(found[:8]))
    return f'--values is missing; the label images hold {listed(found)}; specify for example --values "{example}"'
