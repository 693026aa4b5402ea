"""Names of commands: `python -m scripts.NAME` in the repository and in a shared bundle, else `mammoseg NAME`."""

from __future__ import annotations

import re
from pathlib import Path

INSTALLED = (Path(__file__).resolve().parents[1] / "py.typed").is_file()
"""Whether this code is that of a wheel, inside the package `mammoseg`."""

_COMMANDS = "prepare|compare|crossval|ensemble|share|sample|doctor"


def command_names(text: str, installed: bool = INSTALLED) -> str:
    """A message or help in which commands are called what they are called here."""
    if not installed:
        return text
    text = re.sub(r"\b(?:python\s+-m\s+)?scripts\.bundles\s+new\b", "mammoseg new", text)
    return re.sub(rf"\b(?:python\s+-m\s+)?scripts\.({_COMMANDS})\b", r"mammoseg \1", text)
