"""Comparison of the installed MONAI with the version a bundle was made with."""

from __future__ import annotations

import logging
import re
from typing import Any

import monai

logger = logging.getLogger("mammoseg")


def compare_versions(metadata: Any) -> None:
    """Warn in one line, with both versions, if a bundle was made with another major.minor of MONAI.

    Args:
        metadata: content of the bundle's metadata.json; no warning if it or its version is missing.
    """
    made_with = metadata.get("monai_version") if isinstance(metadata, dict) else None
    if made_with and series(str(made_with)) != series(monai.__version__):
        logger.warning(
            "This bundle was made and tested with MONAI %s; installed is %s: compare its scores with those in its "
            "metadata before relying on it.",
            made_with,
            monai.__version__,
        )


def series(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version: "1.6.1+cpu" → (1, 6)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
