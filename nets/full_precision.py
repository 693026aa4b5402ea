"""Class scores in single precision while the rest of a network is computed in half (PyTorch's autocast).

bfloat16 has eight bits: two scores of about 10 that differ by less than 0.03 would be equal. The layers between maps of
class scores are few and cheap, so they stay in fp32, as does the floor of `nets.logit_floor`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

AUTOCASTING = ("cpu", "cuda")


def full(layers: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """Return `layers(*maps)`, in fp32 inside autocast, unchanged outside."""
    kind = maps[0].device.type
    if kind not in AUTOCASTING or not torch.is_autocast_enabled(kind):
        return layers(*maps)
    with torch.autocast(kind, enabled=False):
        return layers(*(each.float() for each in maps))
