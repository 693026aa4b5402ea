"""Image sizes that a network accepts, in the form of a bundle's metadata."""

from __future__ import annotations

from typing import Any


def stated_sizes(multiple: int) -> dict[str, Any]:
    """Return the part of `network_data_format` for images whose sides `multiple` divides; 1 means any size.

    The smallest size has two cells at the network's lowest level: a single one has no variance to normalize by.
    """
    side = "*" if multiple == 1 else f"{multiple}*n+{multiple}"
    shape = {"spatial_shape": [side, side]}
    return {"inputs": {"image": shape}, "outputs": {"pred": shape}}
