"""The rate of matrix products on a device, and the operations of a step: how near to the limit a step comes."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

SIZE, LARGE, REPEATS = 1536, 8192, 3
"""Rows and columns of the matrices on a CPU (0.07 s at 100 GFLOP/s) and on a GPU, and how often they are multiplied."""


class Gemm:
    """Products of two square fp32 matrices.

    Args:
        device: that multiplies.
        size: rows and columns; by default large enough for the device's full speed.
    """

    def __init__(self, device: torch.device, size: int | None = None) -> None:
        self.size = size or (LARGE if device.type == "cuda" else SIZE)
        self.left, self.right, self.result = (torch.rand(self.size, self.size, device=device) for _ in range(3))

    def rate(self, clock: Callable[[], float]) -> float:
        """Floating-point operations per second: of the median product, after one that is not counted."""
        seconds = []
        for _ in range(REPEATS + 1):
            start = clock()
            torch.mm(self.left, self.right, out=self.result)
            seconds.append(clock() - start)
        return float(2 * self.size**3 / median(seconds[1:]))


def flops_of(run: Callable[[], Any]) -> float:
    """Floating-point operations of the convolutions and matrix products of a call, backward passes included."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())
