"""Strict JSON: no NaN, no numbers beyond a float's range, limited nesting."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from transforms.errors import UserError
from transforms.plain_text import one_line

LARGEST = 2**63


def read_json(path: Path) -> Any:
    """Content of a UTF-8 file, with or without a byte order mark.

    Raises:
        ValueError: not JSON, or with content that other programs reject; the message is one line.
    """
    text = path.read_text(encoding="utf-8-sig")
    if "\0" in text or "\\u0000" in text:
        raise ValueError("holds a NUL character")
    try:
        return json.loads(text, parse_constant=_constant, parse_float=_float, parse_int=_int)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in a file that this package wrote, and that may have been damaged since.

    Args:
        remedy: what to do if the file is damaged.

    Raises:
        UserError: the file is missing, or holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(str(error))[:120]}); {remedy}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}; expected an object; {remedy}")
    return content


def _constant(text: str) -> NoReturn:
    raise ValueError(f"holds {text}, which is not a JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"holds the number {text[:20]}, which is too large")
    return value


def _int(text: str) -> int:
    if len(text) > 20 or abs(int(text)) >= LARGEST:
        raise ValueError(f"holds the number {text[:20]}…, which is too large")
    return int(text)
