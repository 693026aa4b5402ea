"""Breast side of an image, and mirroring to one side.

In a mammogram as acquired, a left breast touches the left edge and a right breast the right edge. Some archives hold
mirrored copies: there, only the pixels show where the breast is, not the laterality.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # options of commands take their choices from here, for a help that starts at once
    from numpy.typing import NDArray

FLIPS = ("none", "left", "right")
_CLEARLY = 1.05  # times brighter


def side_of_laterality(laterality: str | None) -> str | None:
    """Edge of the chest wall in an image as acquired: "left" for "L", "right" for "R", None for None."""
    return {"L": "left", "R": "right"}.get(laterality or "")


def side_of_pixels(pixels: NDArray[Any]) -> str | None:
    """The clearly brighter half of an image (rows, columns[, 3]): "left" or "right", else None."""
    half = pixels.shape[1] // 2
    left = float(pixels[:, :half].sum(dtype="uint64"))
    right = float(pixels[:, pixels.shape[1] - half :].sum(dtype="uint64"))
    if max(left, right) <= _CLEARLY * min(left, right):
        return None
    return "left" if left > right else "right"


def must_flip(pixels: NDArray[Any], laterality: str | None, to: str) -> tuple[bool, str | None]:
    """Whether to mirror an image so that the breast is on the side `to`, and a remark or None.

    The laterality decides; if it is unknown, the brighter half does. Remarks: "disagrees" if pixels and laterality
    indicate different sides, "unknown" if neither indicates one.
    """
    if to == "none":
        return False, None
    stated, seen = side_of_laterality(laterality), side_of_pixels(pixels)
    remark = "disagrees" if stated and seen and stated != seen else None
    side = stated or seen
    if side is None:
        return False, "unknown"
    return side != to, remark


def mirrored(array: NDArray[Any]) -> NDArray[Any]:
    """The array (rows, columns[, 3]) with its columns in reverse order."""
    return array[:, ::-1].copy()
