"""Names of commands: `python -m scripts.NAME` in the repository and in a shared bundle, else `mammoseg NAME`."""

from __future__ import annotations

import re
from pathlib import Path

INSTALLED = (Path(__file__).resolve().parents[1] / "py.typed").is_file()
"""Whether this code is part of the installed package `mammoseg` (a wheel)."""

_COMMANDS = "prepare|compare|crossval|ensemble|share|sample|doctor"


def command_names(text: str, installed: bool = INSTALLED) -> str:
    """Replace the command names in a message or help text by those of this installation."""
    if not installed:
        return text
    text = re.sub(r"\b(?:python\s+-m\s+)?scripts\.bundles\s+new\b", "mammoseg new", text)
    return re.sub(rf"\b(?:python\s+-m\s+)?scripts\.({_COMMANDS})\b", r"mammoseg \1", text)
