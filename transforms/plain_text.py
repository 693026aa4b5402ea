"""Conversion of arbitrary names and messages to one line of plain text."""

from __future__ import annotations

import os
import unicodedata
from pathlib import PurePath

MOST_CHARACTERS = 2000
_FORMULA = ("=", "+", "-", "@")


def one_line(text: object, most: int = MOST_CHARACTERS) -> str:
    r"""Text for any console, table and log: control characters are escaped, the middle of very long text is omitted.

    Bytes of file names that are not UTF-8 become escapes: "M\xfcller.png".
    """
    line = os.fsencode(text).decode("utf-8", "backslashreplace") if isinstance(text, PurePath) else str(text)
    if len(line) > most:
        line = f"{line[: most // 2]} … {line[-most // 2 :]}"
    if line.isascii() and line.isprintable():
        return line
    return "".join(_printable(character) for character in line)


def _printable(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte that Python could not decode
        return f"\\x{ord(character) - 0xDC00:02x}"
    if (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or character in "\u202a\u202b\u202d\u202e\u2066\u2067"
    ):
        return character.encode("unicode_escape").decode("ascii")
    return character


def csv_cell(text: object) -> str:
    """Text that a spreadsheet program shows and does not execute: it would interpret "=…" as a formula."""
    line = one_line(text, 32_000)  # Excel's own limit is 32,767
    return f"'{line}" if line.startswith(_FORMULA) else line


def same_name(text: str) -> str:
    """Normalize a name (NFC): "ü" may be one character, or two as stored by macOS."""
    return unicodedata.normalize("NFC", text)
