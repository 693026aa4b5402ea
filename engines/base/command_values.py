"""Values on MONAI's command line: Python Fire reads each like Python code, then MONAI turns `#` in texts into `::`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Any

from transforms.errors import UserError


def given_options(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return (name, value) of the options of a command line, given as --name value or --name=value."""
    pairs = [(word, following) for word, following in itertools.pairwise(words) if "=" not in word]
    pairs += [(word.partition("=")[0], word.partition("=")[2]) for word in words if "=" in word]
    return [(option[2:], value) for option, value in pairs if option.startswith("--")]


def quoted(text: str) -> str:
    """Return a text in the form that MONAI's command line reads as this text, which is mostly the text itself."""
    return text if _read(text) == text else repr(text)


def check_number_signs(words: Sequence[str]) -> None:
    """Refuse values whose end is lost, since it looks like a Python comment: data#2 is read as data.

    Args:
        words: the command line.

    Raises:
        UserError: such a value; states how to write it.
    """
    for name, value in given_options(words):
        if "#" in value and value.count("#") > str(_read(value)).count("#"):
            raise UserError(f"--{name} {value}: MONAI drops # and what follows; write --{name} \"'{value}'\"")


def as_given(text: Any) -> str:
    """Return a text from the command line with the `#` that MONAI turned into `::`."""
    whole = str(text).replace("::", "#")
    return whole if any(whole in word for word in sys.argv) else str(text)


def _read(value: str) -> Any:
    from fire.parser import DefaultParseValue  # only if a command is run

    return DefaultParseValue(value)
