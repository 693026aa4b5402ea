"""Validation of dataset.json; entries that certainly fit the schema skip the much slower validator."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from transforms.errors import UserError

SECTIONS = ("training", "validation", "test")
FILE = Path(__file__).with_name("dataset.schema.json")


def check_schema(path: Path, content: dict[str, Any]) -> None:
    """Raise UserError with the most relevant violation if a dataset.json breaks the schema.

    Args:
        path: path of the file, for the message.
        content: the object in the file.
    """
    from jsonschema.exceptions import best_match  # slow to import: only if a dataset.json is read

    lists = {name: content[name] for name in SECTIONS if isinstance(content.get(name), list)}
    fits = all(map(plain_items, lists.values()))
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


Rule = Callable[[list[Any]], bool]
"""Whether all values of one key fit."""


def _of(*types: type) -> Rule:
    return lambda values: set(map(type, values)) <= set(types)


def _matching(pattern: Callable[[str], Any]) -> Rule:
    return lambda values: _texts(values) and all(map(pattern, values))


def _optional(rule: Rule) -> Rule:
    return lambda values: rule([value for value in values if value is not None])


def _pairs(*types: type) -> Rule:
    return lambda values: (
        set(map(type, values)) <= {list}
        and set(map(len, values)) <= {2}
        and set(map(type, chain.from_iterable(values))) <= set(types)
    )


def _spacing(values: list[Any]) -> bool:
    return _pairs(int, float)(values) and all(length > 0 for length in chain.from_iterable(values))


def _attributes(value: Any) -> bool:
    if type(value) is not dict or len(value) > 32:
        return False
    return all(_ATTRIBUTE(key) and type(text) is str and 0 < len(text) <= 64 for key, text in value.items())


_texts = _of(str)
_RULES: Mapping[str, Rule] = {
    "image": _matching(_PATH),
    "label": _optional(_matching(_PATH)),
    "subject": lambda values: _texts(values) and all(values),
    "subject_hash": _matching(_SUBJECT_HASH),
    "laterality": _optional(lambda values: _texts(values) and set(values) <= {"L", "R"}),
    "view": _optional(_texts),
    "spacing_mm": _optional(_spacing),
    "spacing_source": _texts,
    "intensity_range": _pairs(int),
    "intensity_source": _texts,
    "burned_in": _optional(_of(bool)),
    "flipped": _of(bool),
    "attributes": lambda values: all(map(_attributes, values)),
    "source_sha256": _matching(_SHA256),
    "image_sha256": _matching(_SHA256),
    "label_sha256": _optional(_matching(_SHA256)),
}
_REQUIRED = ("image", "label", "subject", "intensity_range", "source_sha256")


def plain_items(items: Sequence[Any]) -> bool:
    """Whether the entries of images certainly fit the schema; may be False for valid entries, as with 4095.0."""
    if not _of(dict)(list(items)):
        return False
    for key, rule in _RULES.items():
        values = [item[key] for item in items if key in item]
        if not rule(values) or (key in _REQUIRED and len(values) < len(items)):
            return False
    return True
