"""The rows of Tables 9 and 10, in the paper's order."""

from __future__ import annotations

TITLES = {
    "fcn32": "FCN32",
    "fcn16": "FCN16",
    "fcn8": "FCN8",
    "unet": "U-Net",
    "front": "Dilation10 Front",
    "context": "Dilation10 Context",
    "global": "Dilation10 Global",
    "deeplabv3": "DeepLabv3",
}
"""Stage of a training → the model's name."""


def title(stage: str) -> str:
    """Name of the row; a stage that the paper does not have keeps its own."""
    return TITLES.get(stage, stage)


def place(stage: str) -> tuple[int, str]:
    """What rows are sorted by."""
    known = list(TITLES)
    return (known.index(stage) if stage in TITLES else len(known), stage)
