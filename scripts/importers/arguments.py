"""Parsing of lists and tables in one option, such as `--values "0=background,255=tumor"`."""

from __future__ import annotations

from transforms.errors import UserError
from transforms.plain_text import same_name


def parse_names(text: str) -> list[str]:
    """Return comma-separated names, without surrounding spaces."""
    return [name.strip() for name in same_name(text).split(",") if name.strip()]


def parse_pairs(text: str, option: str) -> dict[str, str]:
    """Parse "a=b,c=d" as {"a": "b", "c": "d"}; a repeated key is an error."""
    pairs: dict[str, str] = {}
    for part in parse_names(text):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise UserError(f"{option}: {part!r} is not of the form left=right")
        if key in pairs:
            raise UserError(f"{option}: {key!r} is repeated; remove one")
        pairs[key] = value
    return pairs


def parse_values(text: str) -> dict[int, str]:
    """Parse "0=background,255=tumor" as {0: "background", 255: "tumor"}."""
    pairs = parse_pairs(text, "--values")
    return dict(zip(parse_numbers(",".join(pairs), "--values"), pairs.values(), strict=True))


def parse_numbers(text: str, option: str = "--ignore") -> list[int]:
    """Return comma-separated integers."""
    for part in parse_names(text):
        if not (part.isdecimal() and len(part) < 10):
            raise UserError(f"{option}: {part!r} is not a gray value; expected an integer from 0 to 255")
    return [int(part) for part in parse_names(text)]
