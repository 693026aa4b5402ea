"""The bilinear resize used throughout this package.

Every network ends on a map that is `factor` times smaller than its input. Cell i of that map stands for the
input's pixels i * factor … (i + 1) * factor - 1, because every stride rounds up. Scaling by the exact factor
and cutting off what lies beyond the input keeps each cell over its own pixels at every size; resizing the map
straight to an odd input size would stretch it.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

ALIGN_CORNERS = False
"""The only convention: a pixel is a square, its value belongs to the square's center."""


def upsample(x: Tensor, factor: int) -> Tensor:
    """Bilinear upsampling by an integer factor: (N, C, h, w) → (N, C, factor * h, factor * w).

    Beyond the outermost centers the edge value is repeated.
    """
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=ALIGN_CORNERS)


def crop_to(x: Tensor, like: Tensor) -> Tensor:
    """The top left part of `x` (N, C, h, w) that has the height and width of `like`."""
    # A slice would do, but torch.export then notes whether it cut anything and refuses the sizes where that differs.
    return F.pad(x, (0, like.shape[-1] - x.shape[-1], 0, like.shape[-2] - x.shape[-2]))
