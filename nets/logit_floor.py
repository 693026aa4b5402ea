"""A ReLU between layers that carry class scores.

The paper puts a ReLU after every convolution, those between maps of class scores included: Dilation10's
context module (Table 6) and FCN's transposed convolutions (Table 3). A score below zero would be cut there.
Then a module that starts as the identity (Yu and Koltun, 2016) would not return its input, and where all
scores are negative every class would become equal.

The softmax does not change when all classes of a pixel are shifted together. So the scores enter such a layer
raised by a per-pixel floor, which puts the lowest class at `MARGIN` > 0 where the ReLU lets it pass, and the
floor is added back at the end. The parameters are those of the plain convolutions. `MARGIN` is above zero
because a ReLU passes no gradient at zero: with no margin the lowest class could never be learned.
"""

from __future__ import annotations

import torch
from torch import Tensor

MARGIN = 1.0


def logit_floor(scores: Tensor) -> Tensor:
    """Per pixel the lowest class score less MARGIN: (N, classes, h, w) → (N, 1, h, w)."""
    return torch.amin(scores, dim=1, keepdim=True) - MARGIN
