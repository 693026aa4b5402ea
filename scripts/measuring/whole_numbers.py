"""Options that list numbers."""

from __future__ import annotations

from transforms.errors import UserError


def whole_numbers(text: str, option: str) -> list[int]:
    """The numbers of "5,500", each at least 1 and once.

    Raises:
        UserError: it is something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UserError(f"{option} {text}: expected whole numbers of at least 1, with commas, as in 5,500")
    return list(dict.fromkeys(map(int, parts)))
