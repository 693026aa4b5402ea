"""Options that are lists of integers."""

from __future__ import annotations

from transforms.errors import UserError


def whole_numbers(text: str, option: str, lowest: int = 1) -> list[int]:
    """Parse integers of at least `lowest`, such as "5,500", without duplicates.

    Raises:
        UserError: the text is not such a list.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) >= lowest for part in parts):
        raise UserError(f"{option} {text}: expected comma-separated integers of at least {lowest}, such as 5,500")
    return list(dict.fromkeys(map(int, parts)))
