"""Content of a dataset folder: dataset.json and the list of files."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transforms.errors import UserError
from transforms.npy import not_readable
from transforms.strict_json import read_json

SHARED = ("subject", "laterality", "view", "spacing_source", "intensity_source")
MANY = 5000
"""Number of new objects above which they are excluded from later garbage collections."""


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Exclude many long-lived objects from garbage collection, now and later: collecting would take seconds."""
    working, before = gc.isenabled(), gc.get_count()[0]
    gc.disable()
    try:
        yield
    finally:
        if working:
            gc.enable()
    if gc.get_count()[0] - before > MANY:
        gc.freeze()


def read_content(root: Path) -> dict[str, Any]:
    """Return the object in a dataset.json.

    Raises:
        UserError: the file is missing, or holds no JSON object.
    """
    path = root / "dataset.json"
    if not is_file(path):
        raise UserError(_not_a_dataset(root))
    try:
        content = read_json(path)
    except OSError as error:
        raise not_readable(path, error) from None
    except ValueError as error:
        raise UserError(f"{path}: not readable JSON ({error}); prepare the dataset again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}; expected an object as scripts.prepare writes it")
    _share(content)
    return content


def _share(content: dict[str, Any]) -> None:
    """Share one string object between all images that have the same text, such as the subject."""
    texts: dict[str, str] = {}
    for section in content.values():
        for item in section if isinstance(section, list) else ():
            for key in SHARED if isinstance(item, dict) else ():
                text = item.get(key)
                if type(text) is str:
                    item[key] = texts.setdefault(text, text)


def _not_a_dataset(root: Path) -> str:
    looked = root.resolve()
    if looked.is_dir():
        names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in looked.iterdir())
        found = f"it holds {', '.join(names[:5]) or 'nothing'}{' …' if len(names) > 5 else ''}"
    else:
        found = "a file has this name" if looked.exists() else "no such folder"
        inside = [path.name for path in looked.parent.glob("*/") if (path / "dataset.json").is_file()]
        if inside:
            found += f" (datasets beside it: {', '.join(sorted(inside)[:5])})"
    return (
        f"{looked}: not a dataset folder: looked for dataset.json, {found}; expected dataset.json, images/*.npy and "
        "labels/*.npy; make one with `python -m scripts.prepare folder IMAGES LABELS OUT --values …` (or qupath, see "
        "docs/data.md), or point dataset_dir at one"
    )


def is_file(path: Path) -> bool:
    """Whether there is a file; False also for a name that no file can have.

    Raises:
        UserError: its folder may not be entered, so whether the file exists is unknown.
    """
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except PermissionError as error:
        raise not_readable(path, error) from None
    except (OSError, ValueError):
        return False


def missing_files(root: Path, names: Iterable[str]) -> set[str]:
    """Return those of some paths below a folder at which there is no file.

    Each subfolder is listed once, instead of checking each file.

    Raises:
        UserError: a subfolder may not be entered.
    """
    missing = set(names)
    for folder in {name.rpartition("/")[0] for name in missing}:
        prefix = f"{folder}/" if folder else ""
        try:
            with os.scandir(root / folder) as entries:
                missing.difference_update(prefix + entry.name for entry in entries if entry.is_file())
        except (OSError, ValueError):
            continue
    return {name for name in missing if not is_file(root / name)}
