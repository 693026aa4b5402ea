"""Compact JSON layout: short lists and objects on one line, blank lines around longer ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

WIDTH = 140
"""Longest line, in columns, for a dictionary or list on one line."""

SPACES = 4

SENTENCE = "_desc_"
"""Prefix of the key of an option's description."""


def layout(content: dict[str, Any]) -> str:
    """Return the text of a configuration file, from which `json.loads` restores `content` in order."""
    lines: list[str] = ["{"]
    before, several = "", False
    for number, (key, value) in enumerate(content.items(), start=1):
        entry = list(_entry(key, value, SPACES, number == len(content)))
        option = f"{SENTENCE}{before}" in content  # the previous entry was an option with its description
        sentence = key.startswith(SENTENCE) and before not in ("", "_desc_")
        if before != f"_desc_{key}" and (several or len(entry) > 1 or sentence != option) and number > 1:
            lines.append("")
        lines += entry
        before, several = key, len(entry) > 1
    return "\n".join([*lines, "}", ""])


def _entry(key: str | None, value: Any, indent: int, last: bool) -> Iterator[str]:
    """Yield the lines of one entry of a dictionary, or of a list if `key` is None."""
    start = " " * indent + ("" if key is None else f"{_text(key)}: ")
    end = "" if last else ","
    line = f"{start}{_text(value)}{end}"
    if not isinstance(value, (dict, list)) or not value or _short(line, value):
        yield line
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield start + opening
    entries = list(value.items()) if isinstance(value, dict) else [(None, item) for item in value]
    for number, (name, item) in enumerate(entries, start=1):
        yield from _entry(name, item, indent + SPACES, number == len(entries))
    yield " " * indent + closing + end


def _short(line: str, value: Any) -> bool:
    """Whether a value stays on one line: it fits and is nested at most two levels deep."""
    return len(line) <= WIDTH and _depth(value) <= 2


def _depth(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(_depth, parts), default=0)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
