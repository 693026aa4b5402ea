"""dataset.json against its schema; entries that certainly fit it are told in a fraction of the validator's time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from transforms.errors import UserError

SECTIONS = ("training", "validation", "test")
FILE = Path(__file__).with_name("dataset.schema.json")


def check_schema(path: Path, content: dict[str, Any]) -> None:
    """Raise UserError with the most telling of the places in which a dataset.json breaks the schema.

    Args:
        path: of the file, for the message.
        content: the object in it.
    """
    from jsonschema.exceptions import best_match  # not where no dataset.json is read, see scripts.benchmark gpu

    lists = {name: content[name] for name in SECTIONS if isinstance(content.get(name), list)}
    fits = all(plain_item(item) for section in lists.values() for item in section)
    shown = {**content, **{name: [] for name in lists}} if fits else content
    error = best_match(_validator().iter_errors(shown))
    if error is not None:
        where = "".join(f"[{key!r}]" for key in error.absolute_path) or "the top level"
        message = error.message if len(error.message) < 200 else error.message[:200] + " …"
        raise UserError(f"{path}: {where}: {message}; see docs/data.md for the format")


@cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(FILE.read_text(encoding="utf-8")))


_PATH = re.compile(r"^(?!/)(?!.*\\)(?!(.*/)?\.\.(/|$)).+$").search
_SHA256 = re.compile("^[0-9a-f]{64}$").search
_SUBJECT_HASH = re.compile("^[0-9a-f]{32}$").search
_ATTRIBUTE = re.compile("^[a-z][a-z0-9_]{0,31}$").search


def _path(value: Any) -> bool:
    return type(value) is str and _PATH(value) is not None


def _sha256(value: Any) -> bool:
    return type(value) is str and _SHA256(value) is not None


def _text(value: Any) -> bool:
    return type(value) is str


def _spacing(value: Any) -> bool:
    if value is None:
        return True
    return type(value) is list and len(value) == 2 and all(type(v) in (int, float) and v > 0 for v in value)


def _attributes(value: Any) -> bool:
    if type(value) is not dict or len(value) > 32:
        return False
    return all(_ATTRIBUTE(key) and type(text) is str and 0 < len(text) <= 64 for key, text in value.items())


_RULES: Mapping[str, Callable[[Any], bool]] = {
    "image": _path,
    "label": lambda value: value is None or _path(value),
    "subject": lambda value: type(value) is str and value != "",
    "subject_hash": lambda value: type(value) is str and _SUBJECT_HASH(value) is not None,
    "laterality": lambda value: value is None or (type(value) is str and value in ("L", "R")),
    "view": lambda value: value is None or type(value) is str,
    "spacing_mm": _spacing,
    "spacing_source": _text,
    "intensity_range": lambda value: (
        type(value) is list and len(value) == 2 and type(value[0]) is int and type(value[1]) is int
    ),
    "intensity_source": _text,
    "burned_in": lambda value: value is None or type(value) is bool,
    "flipped": lambda value: type(value) is bool,
    "attributes": _attributes,
    "source_sha256": _sha256,
    "image_sha256": _sha256,
    "label_sha256": lambda value: value is None or _sha256(value),
}
_REQUIRED = ("image", "label", "subject", "intensity_range", "source_sha256")


def plain_item(item: Any) -> bool:
    """Whether an image's entry certainly fits the schema: False for some that do, as with 4095.0 for an integer."""
    if type(item) is not dict:
        return False
    for key in _REQUIRED:
        if key not in item:
            return False
    for key, value in item.items():
        rule = _RULES.get(key)
        if rule is not None and not rule(value):
            return False
    return True
